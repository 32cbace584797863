"""What a native node takes over from the host's settings at each boot: time zone and trusted certificates. Reads files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

LOCAL_TIME = "/etc/localtime"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
"""Where a node's programs, which are Debian's, look for the certificates that they trust."""
_BUNDLES = (
    CERTIFICATES,  # Debian, Ubuntu, Arch, Alpine
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/var/lib/ca-certificates/ca-bundle.pem",  # openSUSE
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""As Go's crypto/x509 knows the distributions (root_linux.go)."""


def host_settings(host: Path = Path("/")) -> dict[str, bytes]:
    """Content of files, by their path on a node; what the host does not have stays as the node's root has it.

    Args:
        host: the host's root.
    """
    found = {LOCAL_TIME: _first(host, (LOCAL_TIME,)), CERTIFICATES: _first(host, _BUNDLES)}
    return {path: content for path, content in found.items() if content}


def _first(host: Path, paths: Iterable[str]) -> bytes:
    for path in paths:
        try:
            content = (host / path.lstrip("/")).read_bytes()
        except OSError:
            continue
        if content:
            return content
    return b""
