"""apt with a configuration of its own, for real, against a small signed archive on this machine (data/apt).

The archive's private key is gone: what is not as it was signed cannot be made to look signed.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from localk8s.artifacts.apt import Apt
from localk8s.model.errors import ArtifactError
from localk8s.model.hints import instead
from localk8s.model.progress import SilentReporter
from localk8s.system.process import HostRunner

DATA = Path(__file__).parent / "data/apt"
pytestmark = pytest.mark.skipif(not shutil.which("apt-get"), reason="needs apt")
HOST = ("/var/lib/apt/lists", "/var/lib/apt", "/var/lib/dpkg/status", "/var/cache/apt", "/var/cache/apt/archives", "/etc/apt")

USE = """
import sys
from pathlib import Path
from localk8s.artifacts.apt import Apt
from localk8s.model.errors import Localk8sError
from localk8s.model.progress import SilentReporter
from localk8s.system.process import HostRunner

work = Path(sys.argv[1])
apt = Apt(work / "apt", HostRunner(), Path(sys.argv[2]))
apt.update("bookworm")
packages = apt.closure(["localk8s-hello"])
print(sorted((package.name, package.version, package.section) for package in packages))
with SilentReporter().step("x", "") as step:
    archives = apt.download(packages, work / "archives", step, "")
    print([file.name for file in apt.source("hello", work / "source", step, "")])
for archive in archives:
    apt.unpack(archive, work / "root")
print((work / "root/usr/bin/localk8s-hello").read_text())
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@dataclass(frozen=True)
class Archive:
    """A copy of the signed archive that is served, and a host's /etc that names it."""

    files: Path
    host: Path

    def apt(self, directory: Path) -> Apt:
        return Apt(directory, HostRunner(), self.host)


@pytest.fixture
def archive() -> Iterator[Archive]:
    with tempfile.TemporaryDirectory(prefix="localk8s-apt-") as name:
        files, host = Path(name) / "files", Path(name) / "etc"
        shutil.copytree(DATA, files)
        files.chmod(0o755)
        server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(files)))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        sources = host / "apt/sources.list.d/debian.sources"
        sources.parent.mkdir(parents=True)
        uri = f"http://127.0.0.1:{server.server_port}/"
        key = f"Signed-By: {files}/key.asc"
        sources.write_text(f"Types: deb\nURIs: {uri}\nSuites: bookworm\nComponents: main\n{key}\n")
        Path(name).chmod(0o755)
        yield Archive(files, host)
        server.shutdown()
        thread.join()
        server.server_close()


def test_packages_are_fetched_and_unpacked_and_the_host_left_alone(archive: Archive, tmp_path: Path) -> None:
    before = [os.stat(path).st_mtime_ns for path in HOST]
    done = subprocess.run([sys.executable, "-c", USE, tmp_path, archive.host], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    _check(done.stdout)
    assert [os.stat(path).st_mtime_ns for path in HOST] == before
    assert not Path("/usr/bin/localk8s-hello").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become nobody")
def test_no_root_is_needed(archive: Archive) -> None:
    become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", sys.executable, "-c"]
    environment = {"HOME": "/nonexistent", "PATH": os.environ["PATH"]}
    if subprocess.run([*become, "import localk8s"], cwd="/", env=environment, capture_output=True).returncode != 0:
        pytest.skip("this Python cannot be run by nobody")
    with tempfile.TemporaryDirectory(prefix="localk8s-nobody-") as name:
        os.chown(name, 65534, 65534)
        command = [*become, USE, name, str(archive.host)]
        done = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        _check(done.stdout)


def _check(printed: str) -> None:
    packages, source, hello = printed.splitlines()[:3]
    assert eval(packages) == [
        ("localk8s-hello", "1:2.0-1", "utils"),
        ("localk8s-lib", "1.5", "libs"),
        ("localk8s-unneeded", "1", "perl"),
    ]
    assert eval(source) == ["hello_1-1.debian.tar.xz", "hello_1-1.dsc", "hello_1.orig.tar.gz"]
    assert hello == "localk8s-hello 1:2.0-1"


def test_progress_is_told_in_bytes(archive: Archive, tmp_path: Path) -> None:
    seen: list[tuple[float, float | None]] = []

    class Step:
        def progress(self, done: float, total: float | None, detail: str = "") -> None:
            seen.append((done, total))

        def finish_as(self, title: str) -> None: ...

    apt = archive.apt(tmp_path / "apt")
    apt.update("bookworm")
    packages = apt.closure(["localk8s-hello"])
    apt.download(packages, tmp_path / "archives", Step(), "")
    total = sum(package.size for package in packages)
    assert seen[-1] == (total, total)
    assert len(seen) > 1


def replace(file: Path, old: bytes, new: bytes) -> None:
    content = file.read_bytes()
    assert old in content
    file.write_bytes(content.replace(old, new))


def test_a_list_that_was_changed_after_signing_is_refused(archive: Archive, tmp_path: Path) -> None:
    replace(archive.files / "dists/bookworm/InRelease", b"Components: main", b"Components: main evil")
    with pytest.raises(ArtifactError, match="signature cannot be verified"):
        archive.apt(tmp_path / "apt").update("bookworm")


def test_an_unsigned_archive_is_refused_even_if_the_host_trusts_it(archive: Archive, tmp_path: Path) -> None:
    signed = archive.files / "dists/bookworm/InRelease"
    text = signed.read_text().partition("\n\n")[2].partition("-----BEGIN PGP SIGNATURE")[0]
    (signed.parent / "Release").write_text(text)
    signed.unlink()
    replace(archive.host / "apt/sources.list.d/debian.sources", b"Types: deb\n", b"Types: deb\nTrusted: yes\n")
    with pytest.raises(ArtifactError, match="signature cannot be verified"):
        archive.apt(tmp_path / "apt").update("bookworm")


def test_a_package_that_is_not_the_listed_one_is_refused(archive: Archive, tmp_path: Path) -> None:
    apt = archive.apt(tmp_path / "apt")
    apt.update("bookworm")
    packages = apt.closure(["localk8s-lib"])
    shutil.copy(archive.files / "pool/localk8s-unneeded_1_all.deb", archive.files / "pool/localk8s-lib_1.5_all.deb")
    with pytest.raises(ArtifactError, match="not what its signed list says"), SilentReporter().step("x", "") as step:
        apt.download(packages, tmp_path / "archives", step, "")


def test_an_archive_that_is_away(archive: Archive, tmp_path: Path) -> None:
    sources = archive.host / "apt/sources.list.d/debian.sources"
    replace(sources, sources.read_bytes().splitlines()[1], b"URIs: http://127.0.0.1:9/")
    with pytest.raises(ArtifactError, match="cannot be reached") as caught:
        archive.apt(tmp_path / "apt").update("bookworm")
    assert caught.value.hint == instead("--artifacts", "DIRECTORY")


def test_a_host_without_an_archive_of_debian(archive: Archive, tmp_path: Path) -> None:
    sources = archive.host / "apt/sources.list.d/debian.sources"
    replace(sources, b"Suites: bookworm", b"Suites: noble")
    with pytest.raises(ArtifactError, match="None of this host's package sources is an archive of Debian"):
        archive.apt(tmp_path / "apt").update("trixie")


def test_a_suite_that_does_not_exist(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match='archive has no suite "forky"'):
        archive.apt(tmp_path / "apt").update("forky")


def test_a_package_that_does_not_exist(archive: Archive, tmp_path: Path) -> None:
    apt = archive.apt(tmp_path / "apt")
    apt.update("bookworm")
    with pytest.raises(ArtifactError, match="does not have a package"):
        apt.closure(["localk8s-nothing"])
