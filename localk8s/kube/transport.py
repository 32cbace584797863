"""One HTTP connection to an API server: opened, used within a deadline, its failures translated.

Knows nothing of objects or JSON beyond the message of a refusal; ``rest`` does.
The standard library alone: it is part of the DNS image.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from localk8s.kube.endpoint import Endpoint
from localk8s.model.errors import KubernetesError

if TYPE_CHECKING:
    import http.client

USER_AGENT = "localk8s"


class LineStream:
    """Lines of an answer that goes on. Iterate in one thread; ``close`` may be called from another and ends it.

    Raises (while iterating):
        KubernetesError: the server went away in the middle.
    """

    def __init__(self, endpoint: Endpoint, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self._endpoint = endpoint
        self._connection = connection
        self._response = response
        self._socket = socket_of(connection)
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        """Each line without its line feed; the last one also when it has none."""
        rest = b""
        while piece := self._read():
            *lines, rest = (rest + piece).split(b"\n")
            yield from (line for line in lines if line)
        if rest and not self._closed:
            yield rest

    def _read(self) -> bytes:
        """What has come; nothing at the end."""
        import http.client

        try:
            return b"" if self._closed else self._response.read1(65536)
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as exc:
            if self._closed:  # below the reader's hands, which shows as any of these
                return b""
            raise KubernetesError(f"The Kubernetes API at {self._endpoint.url} went away.", details=repr(exc)) from exc

    def __enter__(self) -> LineStream:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """End it; a reader in another thread stops at once."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._connection.close()


def connect(endpoint: Endpoint, deadline: float, limit: float) -> http.client.HTTPConnection:
    """A connection to ``endpoint``, with TLS where it has any.

    Args:
        deadline: on the monotonic clock, in seconds.
        limit: seconds the whole call may take; for the error only.

    Raises:
        KubernetesError: no connection.
    """
    import http.client

    connection = http.client.HTTPConnection(endpoint.host, endpoint.port)
    connection.auto_open = 0  # it would come back without TLS
    try:
        plain = socket.create_connection((endpoint.host, endpoint.port), timeout=_remaining(deadline))
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _keep_alive(plain)
            connection.sock = plain
            if endpoint.tls is not None:
                plain.settimeout(_remaining(deadline))
                connection.sock = endpoint.tls.wrap_socket(plain, server_hostname=endpoint.server_name or endpoint.host)
        except BaseException:
            plain.close()
            raise
    except OSError as exc:
        raise no_answer(endpoint, exc, limit) from exc
    return connection


def _keep_alive(sock: socket.socket) -> None:
    """Let a silent connection break within half a minute when the machine at its other end is gone."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):  # not on every platform
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)


def usable(connection: http.client.HTTPConnection) -> bool:
    """Whether an idle connection is still open: one that has something to read has been closed by the server."""
    sock = connection.sock
    if sock is None:
        return False
    try:
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return not poll.poll(0)
    except AttributeError:  # no poll on Windows
        return not select.select([sock], [], [], 0)[0]
    except (OSError, ValueError):
        return False


def send(
    connection: http.client.HTTPConnection,
    endpoint: Endpoint,
    method: str,
    path: str,
    data: bytes | None,
    content_type: str,
    deadline: float,
) -> http.client.HTTPResponse:
    """Send one request and return the answer's head.

    Raises:
        OSError: the connection broke, or the deadline passed.
    """
    import http.client

    headers = {"Accept": "application/json, */*", "User-Agent": USER_AGENT, **endpoint.headers()}
    if data is not None:
        headers["Content-Type"] = content_type
    socket_of(connection).settimeout(_remaining(deadline))
    try:
        connection.request(method, endpoint.prefix + path, body=data, headers=headers)
        socket_of(connection).settimeout(_remaining(deadline))
        return connection.getresponse()
    except http.client.HTTPException as exc:
        raise ConnectionError(str(exc) or type(exc).__name__) from exc


def read_all(connection: http.client.HTTPConnection, response: http.client.HTTPResponse, deadline: float) -> bytes:
    """The answer's body; the connection can be used again. Errors as for ``send``."""
    import http.client

    pieces: list[bytes] = []
    sock = connection.sock  # None when the server closes after this answer; its own limit then still holds
    try:
        while piece := response.read1(262144):
            pieces.append(piece)
            if sock is not None:
                sock.settimeout(_remaining(deadline))
        response.read()  # the end of a chunked answer, so that the connection can be used again
    except http.client.HTTPException as exc:
        raise ConnectionError(str(exc) or type(exc).__name__) from exc
    if response.length:
        raise ConnectionError("the connection ended in the middle of the answer")
    return b"".join(pieces)


def socket_of(connection: http.client.HTTPConnection) -> socket.socket:
    """The socket of an open connection.

    Raises:
        OSError: it is closed.
    """
    sock: socket.socket | None = connection.sock
    if sock is None:
        raise ConnectionError("the connection is closed")
    return sock


def _remaining(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def no_answer(endpoint: Endpoint, exc: OSError, limit: float) -> KubernetesError:
    """The error for a call that got no answer because of ``exc``."""
    import ssl

    if isinstance(exc, (TimeoutError, socket.timeout)):
        how = f"did not answer within {limit:g} s"
    elif isinstance(exc, ConnectionRefusedError):
        how = "refused the connection"
    elif isinstance(exc, ssl.SSLCertVerificationError):
        how = f"has a certificate that this kubeconfig does not trust ({exc.verify_message})"
    else:
        how = f"cannot be asked ({exc.strerror or exc})"
    error = KubernetesError(f"The Kubernetes API at {endpoint.url} {how}.", details=repr(exc))
    error.unanswered = not isinstance(exc, ssl.SSLCertVerificationError)  # that one is an answer
    return error


def refusal(path: str, status: int, answer: bytes) -> KubernetesError:
    """The error for an HTTP status of 400 and up, in the server's own words where it has some."""
    try:
        body = json.loads(answer)
        message, reason = str(body.get("message") or ""), str(body.get("reason") or "")
    except (ValueError, AttributeError):
        message, reason = answer.decode("utf-8", "replace").strip().partition("\n")[0][:300], ""
    where = path.partition("?")[0]
    said = f": {message}" if message else "."
    return KubernetesError(f"The Kubernetes API answered {status} to {where}{said}", status=status, details=reason)
