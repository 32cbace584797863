"""Where an API server is and how to prove who asks: from a kubeconfig's text, or from inside a pod.

Owns TLS contexts and credentials; does not speak HTTP (``rest`` does). The only place that reads a kubeconfig to use it.
The standard library alone, but for a kubeconfig that is YAML: it is part of the DNS image.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from localk8s.model.errors import ConfigError

if TYPE_CHECKING:
    import ssl

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its own credentials."""


@dataclass(frozen=True)
class Endpoint:
    """One API server and one identity there."""

    host: str
    port: int
    prefix: str = ""
    """What comes before every path; usually empty."""
    tls: ssl.SSLContext | None = None
    """None for plain HTTP."""
    server_name: str = ""
    """The name that the server's certificate must bear; empty for ``host``."""
    authorization: str = field(default="", repr=False)
    """The Authorization header; empty when the client certificate says it all."""
    token_file: Path | None = None
    """A bearer token that is read again for each request, because it is replaced now and then."""

    @property
    def url(self) -> str:
        """For people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{self.prefix}"

    def headers(self) -> dict[str, str]:
        """What identifies the caller, for one request."""
        if self.token_file is not None:
            return {"Authorization": f"Bearer {self.token_file.read_text().strip()}"}
        return {"Authorization": self.authorization} if self.authorization else {}


def endpoint_from_kubeconfig(text: str, *, context: str = "", base: Path | None = None) -> Endpoint:
    """The API server and identity of one context of a kubeconfig.

    Args:
        text: the kubeconfig, YAML or JSON.
        context: the context's name; empty for the current one (or the only one).
        base: directory against which relative file names in it are resolved; None for the working directory.

    Raises:
        ConfigError: it is no kubeconfig, lacks what it refers to, or needs a login program.
    """
    document = _document(text)
    chosen = context or document.get("current-context") or _only_name(document, "contexts")
    entry = _entry(document, "contexts", chosen, "context")
    cluster = _entry(document, "clusters", str(entry.get("cluster")), "cluster")
    user = _entry(document, "users", str(entry.get("user")), "user") if entry.get("user") else {}
    for key in ("exec", "auth-provider"):
        if user.get(key):
            raise ConfigError(f"Context {chosen!r} logs in by {key!r}; localk8s needs a certificate or a token.")
    split = urlsplit(str(cluster.get("server") or ""))
    try:
        port = split.port or (443 if split.scheme == "https" else 80)
    except ValueError:
        port = 0
    if split.scheme not in ("https", "http") or not split.hostname or not port:
        raise ConfigError(f"The kubeconfig's server {cluster.get('server')!r} is no URL of an API server.")
    return Endpoint(
        host=split.hostname,
        port=port,
        prefix=split.path.rstrip("/"),
        tls=_tls(cluster, user, base or Path()) if split.scheme == "https" else None,
        server_name=str(cluster.get("tls-server-name") or ""),
        authorization=_authorization(user),
        token_file=(base or Path()) / str(user["tokenFile"]) if user.get("tokenFile") and not user.get("token") else None,
    )


def endpoint_in_cluster(environment: Mapping[str, str], directory: Path = SERVICE_ACCOUNT) -> Endpoint:
    """The API server as a pod's own service account reaches it.

    Raises:
        ConfigError: this is no pod, or one without a service account's token.
    """
    import ssl

    host = environment.get("KUBERNETES_SERVICE_HOST", "")
    port = environment.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not port.isdecimal() or not (directory / "token").exists():
        raise ConfigError("This is not a pod with a service account: no API server to talk to.", hint="give --kubeconfig FILE")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.load_verify_locations(cafile=str(directory / "ca.crt"))
    return Endpoint(host=host, port=int(port), tls=tls, token_file=directory / "token")


def _document(text: str) -> dict[str, Any]:
    try:
        loaded = json.loads(text) if text.lstrip().startswith("{") else _yaml(text)
    except ValueError as exc:
        raise ConfigError("The kubeconfig cannot be parsed.", details=str(exc)) from exc
    if not isinstance(loaded, dict) or not loaded.get("clusters"):
        raise ConfigError("The kubeconfig holds no clusters.")
    return loaded


def _yaml(text: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as exc:
        raise ValueError(str(exc)) from exc


def _named(document: Mapping[str, Any], section: str) -> list[dict[str, Any]]:
    entries = document.get(section)
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _only_name(document: Mapping[str, Any], section: str) -> str:
    entries = _named(document, section)
    if len(entries) != 1:
        raise ConfigError("The kubeconfig has no current context.")
    return str(entries[0].get("name"))


def _entry(document: Mapping[str, Any], section: str, name: str, key: str) -> dict[str, Any]:
    for entry in _named(document, section):
        if entry.get("name") == name:  # the first of a name wins, as for kubectl
            content = entry.get(key)
            if isinstance(content, dict):
                return content
    raise ConfigError(f"The kubeconfig has no {key} {name!r}.")


def _authorization(user: Mapping[str, Any]) -> str:
    if token := user.get("token"):
        return f"Bearer {token}"
    if user.get("username"):
        pair = f"{user['username']}:{user.get('password') or ''}".encode()
        return "Basic " + base64.b64encode(pair).decode()
    return ""


def _pem(entry: Mapping[str, Any], key: str, base: Path) -> bytes | None:
    """The content of ``key``-data, or of the file that ``key`` names."""
    try:
        if data := entry.get(f"{key}-data"):
            return base64.b64decode(str(data), validate=False)
        return (base / str(entry[key])).read_bytes() if entry.get(key) else None
    except (binascii.Error, ValueError) as exc:
        raise ConfigError(f"The kubeconfig's {key}-data is not base64.") from exc
    except OSError as exc:
        raise ConfigError(f"The kubeconfig's {key} cannot be read: {entry[key]}: {exc.strerror}.") from exc


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any], base: Path) -> ssl.SSLContext:
    import ssl

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority = _pem(cluster, "certificate-authority", base)
    certificate, key = _pem(user, "client-certificate", base), _pem(user, "client-key", base)
    try:
        if cluster.get("insecure-skip-tls-verify"):
            tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        elif authority is not None:
            tls.load_verify_locations(cadata=authority.decode("ascii"))
        else:
            tls.load_default_certs()
        if certificate and key:
            with _secret_file(certificate + b"\n" + key) as path:
                tls.load_cert_chain(path, password="")  # never ask on the terminal
    except (ssl.SSLError, ValueError) as exc:
        raise ConfigError("The kubeconfig's certificates or key are not valid PEM.", details=str(exc)) from exc
    return tls


@contextlib.contextmanager
def _secret_file(content: bytes) -> Iterator[str]:
    """A path from which OpenSSL can read ``content`` during the block; in memory where the system can."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("localk8s-key", os.MFD_CLOEXEC)
        try:
            os.write(handle, content)
            yield f"/proc/self/fd/{handle}"
        finally:
            os.close(handle)
        return
    import tempfile

    handle, path = tempfile.mkstemp(prefix="localk8s-key-")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        yield path
    finally:
        os.unlink(path)
