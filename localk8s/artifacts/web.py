"""Downloads over HTTP: a digest is required, time is limited, a broken download leaves nothing. Knows no layouts.

Proxies are taken from the environment by the standard library (``https_proxy``, ``no_proxy``).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from localk8s.artifacts.trouble import Unavailable
from localk8s.model.errors import ArtifactError, ConfigError
from localk8s.model.hints import instead

_CHUNK = 1 << 18
_SILENCE_LIMIT = 30.0
"""Seconds without a byte after which a download is broken."""
_LONGEST = 3600.0
"""Seconds that one file may take in all."""
_TRIES = 2
_SMALL = 1 << 16


_NETWORK = (OSError, http.client.HTTPException, ValueError)
"""What the standard library raises when a server or an address is bad (ValueError: host names that cannot be encoded)."""


class _BrokenOffError(Exception):
    """The other side stopped before the end."""


def check_base_url(url: str) -> str:
    """``url`` without a slash at its end.

    Raises:
        ConfigError: it is no http or https address.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = None
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError(f"{url!r} is no http or https address.", hint="sources: {mirror: https://mirror.example/kubernetes}")
    return url.rstrip("/")


def shown_url(url: str) -> str:
    """``url`` for people: without a user name and password."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def read_text(url: str, *, timeout: float = _SILENCE_LIMIT) -> str:
    """The content of a small text file.

    Raises:
        Unavailable: it is not there.
        ArtifactError: the server cannot be reached, or gives something else.
    """
    try:
        with _open(url, timeout) as response:
            return response.read(_SMALL).decode("ascii")
    except _NETWORK as exc:
        raise _trouble(url, exc) from exc


def read_size(url: str) -> int | None:
    """How many bytes the file at ``url`` has; None when the server does not say. Only good for showing progress."""
    try:
        with _open(url, _SILENCE_LIMIT, method="HEAD") as response:
            length = response.headers.get("Content-Length", "")
    except urllib.error.HTTPError as exc:
        exc.close()
        return None
    except _NETWORK:
        return None
    return int(length) if length.isascii() and length.isdigit() else None


def download(url: str, target: Path, sha256: str, tell: Callable[[int], None]) -> None:
    """Download ``url`` into the file ``target`` (mode 0755), which appears only when it is whole and right.

    Args:
        sha256: what its digest must be, in hexadecimal.
        tell: called with the number of bytes that have come.

    Raises:
        Unavailable: it is not there.
        ArtifactError: the connection broke twice, or the digest is wrong; the file is named.
    """
    part = target.with_name(f".{target.name}.part")
    try:
        for left in reversed(range(_TRIES)):
            try:
                got = _receive(url, part, tell)
                break
            except _BrokenOffError as exc:
                if not left:
                    raise _trouble(url, exc) from exc
        if got != sha256:
            raise ArtifactError(
                f"{shown_url(url)} is not what its digest says: SHA-256 {got} instead of {sha256}.",
                hint="mend that file or its .sha256 where it comes from; nothing of it was kept",
            )
        part.chmod(0o755)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _receive(url: str, part: Path, tell: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    done, deadline = 0, time.monotonic() + _LONGEST
    with contextlib.ExitStack() as stack:
        try:
            response = stack.enter_context(_open(url, _SILENCE_LIMIT))
        except _NETWORK as exc:
            raise _trouble(url, exc) from exc
        length = response.headers.get("Content-Length", "")
        file = stack.enter_context(part.open("wb"))
        while chunk := _read(response):
            file.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            tell(done)
            if time.monotonic() > deadline:
                raise _BrokenOffError(f"it took longer than {_LONGEST / 60:.0f} minutes")
    if length.isascii() and length.isdigit() and done != int(length):
        raise _BrokenOffError(f"the connection ended after {done} of {length} bytes")
    return digest.hexdigest()


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(_CHUNK)
    except _NETWORK as exc:  # told apart from what goes wrong with the file that is written
        raise _BrokenOffError(_reason(exc)) from exc


@contextlib.contextmanager
def _open(url: str, timeout: float, method: str = "GET") -> Iterator[http.client.HTTPResponse]:
    parts = urllib.parse.urlsplit(url)
    request = urllib.request.Request(shown_url(url), method=method, headers={"User-Agent": "localk8s"})  # noqa: S310 - checked above
    if parts.username is not None:
        pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(pair.encode()).decode())
    response: http.client.HTTPResponse
    with urllib.request.build_opener().open(request, timeout=timeout) as response:
        yield response


def _trouble(url: str, exc: Exception) -> Exception:
    if isinstance(exc, urllib.error.HTTPError):
        exc.close()
        if exc.code in (404, 410):
            return Unavailable(f"{shown_url(url)} is not there")
        reason = f"HTTP status {exc.code}"
    else:
        reason = _reason(exc)
    return ArtifactError(f"{shown_url(url)} could not be downloaded: {reason}.", hint=instead("--artifacts", "DIRECTORY"))


def _reason(exc: Exception) -> str:
    cause = getattr(exc, "reason", exc)
    if isinstance(cause, TimeoutError):
        return f"nothing came for {_SILENCE_LIMIT:.0f} s"
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
