"""Certificates for a docker that listens on a node: an authority for this one purpose, one for the server, one for the user.

Owns how they are made (by openssl, on this host). The authority's key is thrown away when both are signed.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from localk8s.model.node import Runner
from localk8s.system.files import write_atomic

_DAYS = "3650"
_FORM = "2"
"""Raised when certificates are made in another way, so that old ones are not used."""
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_AUTHORITY = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
_LEAF = "keyUsage=critical,digitalSignature\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
"""As RFC 5280 wants them: Python from 3.13 on takes no others (ssl.VERIFY_X509_STRICT)."""
CLIENT_FILES = ("ca.pem", "cert.pem", "key.pem")
"""As docker's DOCKER_CERT_PATH wants them."""


def ensure_certificates(runner: Runner, directory: Path, address: str, name: str) -> None:
    """Have ``client`` and ``server`` below ``directory``, each with ca.pem, cert.pem and key.pem, mode 0600. Idempotent.

    Args:
        runner: runs openssl on this host.
        directory: made with mode 0700.
        address: the server's IPv4 address.
        name: its host name.

    Raises:
        PrerequisiteError: there is no openssl.
        CommandError: it failed.
    """
    wanted = [directory / role / file for role in ("client", "server") for file in CLIENT_FILES]
    told = directory / "address"
    if all(file.is_file() for file in wanted) and told.is_file() and told.read_text() == f"{address} {name} {_FORM}":
        return
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    told.unlink(missing_ok=True)  # whatever interrupts this: a client of one authority is never left beside a server of another
    with tempfile.TemporaryDirectory(dir=directory) as work:
        place = Path(work)
        ca, ca_key = place / "ca.pem", place / "ca-key.pem"
        subject = ["-subj", f"/CN=localk8s docker on {name}"]
        runner.run(
            ["openssl", "req", "-x509", *_KEY, "-days", _DAYS, *subject, *_AUTHORITY, "-keyout", str(ca_key), "-out", str(ca)]
        )
        for role, extension in (
            ("server", f"subjectAltName=IP:{address},DNS:{name}\nextendedKeyUsage=serverAuth\n"),
            ("client", "extendedKeyUsage=clientAuth\n"),
        ):
            _sign(runner, place, role, extension)
            target = directory / role
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(mode=0o700)
            write_atomic(target / "ca.pem", ca.read_bytes())
            write_atomic(target / "cert.pem", (place / f"{role}.pem").read_bytes())
            write_atomic(target / "key.pem", (place / f"{role}-key.pem").read_bytes())
    write_atomic(told, f"{address} {name} {_FORM}")


def has_certificates(directory: Path) -> bool:
    """Whether ``ensure_certificates`` has ended well for ``directory`` before."""
    return (directory / "address").is_file()


def _sign(runner: Runner, place: Path, role: str, extension: str) -> None:
    (place / "extensions").write_text(_LEAF + extension)
    key, request = str(place / f"{role}-key.pem"), str(place / f"{role}.csr")
    runner.run(["openssl", "req", *_KEY, "-subj", f"/CN={role}", "-keyout", key, "-out", request])
    authority = ["-CA", str(place / "ca.pem"), "-CAkey", str(place / "ca-key.pem"), "-CAcreateserial"]
    extensions = ["-extfile", str(place / "extensions")]
    argv = ["openssl", "x509", "-req", "-in", request, *authority, *extensions, "-days", _DAYS]
    runner.run([*argv, "-out", str(place / f"{role}.pem")])
