"""A clock that jumps: a native cluster whose certificates all ran out comes back, and one whose do not begin yet says so.

The clock of this host is left alone: the certificates are made anew as they would look from a year on, and back.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from localk8s_door import RealDoor, ask

pytestmark = pytest.mark.real

_SIGNING = """[ca]
default_ca = own
[own]
new_certs_dir = {work}
database = {work}/index
serial = {work}/serial
default_md = sha256
policy = any
copy_extensions = copyall
x509_extensions = none
unique_subject = no
email_in_dn = no
[any]
organizationName = optional
commonName = supplied
[none]
"""
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", re.S)
_DATA = re.compile(r"(client-(?:certificate|key)-data: )(\S+)")


class Authority:
    """The cluster's authority, signing with dates of one's choice.

    Args:
        certificate: where it is.
        key: where its key is.
        work: an empty directory.
    """

    def __init__(self, certificate: Path, key: Path, work: Path) -> None:
        work.mkdir(parents=True)
        self._certificate, self._key, self._work = certificate, key, work
        (work / "index").touch()
        (work / "serial").write_text("77\n")
        (work / "config").write_text(_SIGNING.format(work=work))

    def sign_again(self, certificate: str, key: str, first: str, last: str, *extra: str) -> str:
        """The same certificate with other dates (``20250101000000Z``), PEM."""
        old, its_key, request, new = (self._work / name for name in ("old.pem", "key.pem", "request.pem", "new.pem"))
        old.write_text(certificate)
        its_key.write_text(key)
        openssl("x509", "-x509toreq", "-copy_extensions", "copyall", "-in", old, "-signkey", its_key, "-out", request)
        signer = ("-cert", self._certificate, "-keyfile", self._key)
        dates = ("-startdate", first, "-enddate", last, *extra)
        openssl("ca", "-batch", "-notext", "-config", self._work / "config", *signer, *dates, "-in", request, "-out", new)
        return new.read_text()


def openssl(*arguments: str | Path) -> str:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextlib.contextmanager
def node_trees(door: RealDoor, names: list[str], work: Path) -> Iterator[dict[str, Path]]:
    """The files of nodes that are off, by node."""
    with contextlib.ExitStack() as mounted:
        trees = {}
        for name in names:
            trees[name] = work / f"disk-{name}"
            trees[name].mkdir()
            image = door.home / "data/native/default/nodes" / name / "disk.img"
            subprocess.run(["mount", "-o", "loop", image, trees[name]], check=True)
            mounted.callback(subprocess.run, ["umount", trees[name]], check=True)
        yield trees


@contextlib.contextmanager
def as_file(directory: Path, pem: str) -> Iterator[Path]:
    path = directory / "one.pem"
    path.write_text(pem)
    yield path
    path.unlink()


def let_run_out(trees: dict[str, Path], work: Path) -> int:
    """Make every certificate that the cluster's authorities signed one that ended a year ago; returns how many."""
    kubernetes = next(iter(trees.values())) / "root/etc/kubernetes"
    authorities = {
        name: Authority(kubernetes / f"pki/{path}.crt", kubernetes / f"pki/{path}.key", work / name)
        for name, path in (("ca", "ca"), ("etcd", "etcd/ca"), ("front-proxy", "front-proxy-ca"))
    }
    dates = ("20240101000000Z", "20250101000000Z")
    count = 0
    for file in kubernetes.glob("pki/**/*.crt"):
        if file.name.endswith("ca.crt"):
            continue
        by = (
            "etcd"
            if file.parent.name == "etcd" or "etcd" in file.name
            else "front-proxy"
            if "front-proxy" in file.name
            else "ca"
        )
        file.write_text(authorities[by].sign_again(file.read_text(), file.with_suffix(".key").read_text(), *dates))
        count += 1
    for tree in trees.values():
        for file in (tree / "root/etc/kubernetes").glob("*.conf"):
            found = dict((key, base64.b64decode(data).decode()) for key, data in _DATA.findall(file.read_text()))
            if not found:
                continue
            old = found["client-certificate-data: "]
            new = authorities["ca"].sign_again(old, found["client-key-data: "], *dates)
            text = file.read_text()
            file.write_text(text.replace(base64.b64encode(old.encode()).decode(), base64.b64encode(new.encode()).decode()))
            count += 1
        for file in (tree / "var/lib/kubelet/pki").glob("kubelet-client-2*.pem"):
            whole = file.read_text()
            old = "".join(_PEM.findall(whole))
            file.write_text(authorities["ca"].sign_again(old, whole.replace(old, ""), *dates) + whole.replace(old, ""))
            count += 1
    return count


def test_certificates_that_ran_out_are_made_anew_and_the_cluster_goes_on(door: RealDoor, tmp_path: Path) -> None:
    door.do("start", "--nodes", "2")
    door.do("demo")
    pods = {pod["metadata"]["uid"] for pod in door.objects("pods")}
    door.do("stop")
    with node_trees(door, ["default", "default-2"], tmp_path) as trees:
        assert let_run_out(trees, tmp_path) >= 15

    done = door.run("start")
    assert done.returncode == 0, done.stderr
    assert "with new certificates" in done.stderr
    assert {pod["metadata"]["uid"] for pod in door.objects("pods")} == pods  # also: the user's kubeconfig has the new one
    assert ask(json.loads(door.do("demo", "-o", "json"))["url"])["pod"].startswith("demo-")
    for name in ("default", "default-2"):
        credentials = dict(_DATA.findall(door.node(name, "cat", "/etc/kubernetes/kubelet.conf")))
        with as_file(tmp_path, base64.b64decode(credentials["client-certificate-data: "]).decode()) as file:
            openssl("x509", "-noout", "-checkend", str(300 * 86400), "-in", file)

    again = door.run("start")
    assert again.returncode == 0 and "with new certificates" not in again.stderr


def test_a_clock_that_was_set_back_is_said_and_nothing_is_lost(door: RealDoor, tmp_path: Path) -> None:
    door.do("start", "--nodes", "2")
    door.do("stop")
    with node_trees(door, ["default"], tmp_path) as trees:
        pki = trees["default"] / "root/etc/kubernetes/pki"
        kept = (pki / "ca.crt").read_text()
        authority = Authority(pki / "ca.crt", pki / "ca.key", tmp_path / "ca")
        (pki / "ca.crt").write_text(
            authority.sign_again(kept, (pki / "ca.key").read_text(), "20480101000000Z", "20490101000000Z")
        )

    said = door.fail("start", code=5)
    assert "only begin at 2048-01-01 00:00 UTC" in said and "hint:" in said
    assert door.status()["state"] != "running"
    door.node("default", "tee", "/etc/kubernetes/pki/ca.crt", stdin=kept)
    door.do("start")
    assert door.status()["state"] == "running"
