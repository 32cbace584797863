"""Fetching for real: the seven programs over HTTP, killed, shared, on a full and on a read-only disk, and as nobody."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from localk8s.artifacts.kinds import KUBERNETES_PROGRAMS, ImageRole
from localk8s.artifacts.library import Library
from localk8s.artifacts.settings import ArtifactSettings
from localk8s.model.progress import SilentReporter
from localk8s.model.versions import KubernetesVersion
from localk8s.store.layout import Layout
from localk8s.system.paths import find_roots
from localk8s.system.process import HostRunner
from localk8s.system.wait import wait_until

ROLES = (ImageRole.PAUSE, ImageRole.ECHO, ImageRole.DNS, ImageRole.KUBE_PROXY)
VERSION = KubernetesVersion(1, 20, 2)
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="mounting needs root")

FETCH = """
import sys
import tarfile
from pathlib import Path
from localk8s.artifacts.library import Library
from localk8s.artifacts.settings import ArtifactSettings
from localk8s.model.errors import Localk8sError
from localk8s.model.versions import KubernetesVersion
from localk8s.system.process import HostRunner

class Step:
    def progress(self, done, total, detail=""):
        print(f"progress {done} {total} {detail}", flush=True)
    def finish_as(self, title): ...

library = Library(Path(sys.argv[1]), HostRunner(), ArtifactSettings(mirror=sys.argv[2]), machine="x86_64", codename="")
try:
    print("got", library.kubernetes(KubernetesVersion(1, 20, 2), None, Step()).directory)
except Localk8sError as exc:
    print("error", exc.message, "HINT", exc.hint)
    sys.exit(exc.exit_code)
"""


class Site(ThreadingHTTPServer):
    """The official layout over a directory of files; can hold back the middle of one file."""

    daemon_threads = True

    def __init__(self, directory: Path, architecture: str = "amd64") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.directory = directory
        self.base = f"/release/{VERSION}/bin/linux/{architecture}/"
        self.held = ""
        self.go_on = threading.Event()
        self.asked: Counter[str] = Counter()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        name = self.path.removeprefix(self.server.base)
        file = self.server.directory / name.removesuffix(".sha256")
        if not self.path.startswith(self.server.base) or not file.is_file():
            self.send_error(404)
            return
        digest = name.endswith(".sha256")
        content = hashlib.sha256(file.read_bytes()).hexdigest().encode() if digest else b""
        self.send_response(200)
        self.send_header("Content-Length", str(len(content) if digest else file.stat().st_size))
        self.end_headers()
        if not body:
            return
        self.server.asked[name] += 1
        if digest:
            self.wfile.write(content)
            return
        with file.open("rb") as opened:
            if name == self.server.held:
                self.wfile.write(opened.read(file.stat().st_size // 2))
                self.wfile.flush()
                self.server.go_on.wait(60)
            shutil.copyfileobj(opened, self.wfile)

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the client was killed: that is the test
            super().handle()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    directory = tmp_path / "site"
    directory.mkdir()
    for name in KUBERNETES_PROGRAMS:
        (directory / name).write_bytes(name.encode() * 200_000)
    yield from serve(Site(directory))


def serve(server: Site) -> Iterator[Site]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.go_on.set()
    server.shutdown()
    thread.join()
    server.server_close()


def fetching(cache: Path, site: Site, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    argv = [*prefix, sys.executable, "-c", FETCH, str(cache), site.url]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def files(cache: Path) -> set[str]:
    return {path.name for path in cache.rglob("*") if path.is_file() and "locks" not in path.parts}


def test_a_fetch_that_is_killed_is_finished_by_the_next(tmp_path: Path, site: Site) -> None:
    cache, site.held = tmp_path / "cache", "kube-proxy"
    first = fetching(cache, site)
    wait_until(lambda: site.asked["kube-proxy"], what="the third file", timeout=20, interval=0.02)
    wait_until(lambda: ".kube-proxy.part" in files(cache), what="half a file", timeout=20, interval=0.02)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert "kube-proxy" not in files(cache)
    site.held = ""
    site.go_on.set()
    second = fetching(cache, site)
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 0, output
    assert files(cache) == {*KUBERNETES_PROGRAMS, "manifest.json"}
    assert site.asked["kube-apiserver"] == 1, "what was whole is kept"
    assert not list((cache / "work").iterdir())


def test_two_processes_share_one_download(tmp_path: Path, site: Site) -> None:
    cache, site.held = tmp_path / "cache", "kubeadm"
    first = fetching(cache, site)
    wait_until(lambda: site.asked["kubeadm"], what="the first to be at it", timeout=20, interval=0.02)
    second = fetching(cache, site)
    assert second.stdout is not None
    told = ""
    while "another localk8s" not in told:
        told = second.stdout.readline()
        assert told, "the second ended without waiting"
    site.go_on.set()
    outputs = [process.communicate(timeout=60)[0] for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0], outputs
    assert outputs[0].splitlines()[-1] == outputs[1].splitlines()[-1]
    assert {site.asked[name] for name in KUBERNETES_PROGRAMS} == {1}


@needs_root
def test_a_full_disk_is_one_clear_error_and_is_not_left_full(tmp_path: Path, site: Site) -> None:
    mount = f"mount -t tmpfs -o size=6m none {tmp_path} && cd {tmp_path} && "
    check = f'"$@"; code=$?; find {tmp_path}/cache -path "*locks*" -prune -o -type f -print; exit $code'
    process = fetching(tmp_path / "cache", site, ("unshare", "--mount", "sh", "-c", mount + check, "sh"))
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 5, output
    errors = [line for line in output.splitlines() if not line.startswith("progress ")]
    assert len(errors) == 1
    free = rf"error The disk is full: [0-9.]+ (B|KiB|MiB) of 6 MiB are free on {tmp_path}, which keeps the artifact cache\. "
    assert re.fullmatch(free + f"HINT df -h {tmp_path}/cache", errors[0])


@needs_root
@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_a_bundle_too_large_for_the_cache_is_one_clear_error_and_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    bundle, small = tmp_path / f"bundle.{suffix}", tmp_path / "small"
    small.mkdir()
    with tarfile.open(bundle, f"w:{suffix.partition('.')[2]}") as archive:  # type: ignore[call-overload]
        for name in KUBERNETES_PROGRAMS:
            info = tarfile.TarInfo(name)
            info.size, info.mode = 1 << 20, 0o755
            archive.addfile(info, io.BytesIO(os.urandom(1 << 20)))
    code = FETCH.replace("None, Step()", "sys.argv[3], Step()")
    mount = f"mount -t tmpfs -o size=6m none {small} && "
    look = f'"$@"; code=$?; find {small} -path "*locks*" -prune -o -type f -print; exit $code'
    inside = ["unshare", "--mount", "sh", "-c", mount + look, "sh"]
    argv = [*inside, sys.executable, "-c", code, str(small / "cache"), "http://127.0.0.1:9", str(bundle)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 5, done.stdout + done.stderr
    told = [line for line in done.stdout.splitlines() if not line.startswith("progress ")]
    assert len(told) == 1 and told[0].startswith("error The disk is full: ")
    assert f" of 6 MiB are free on {small}, which keeps the artifact cache. " in told[0]


@needs_root
def test_a_read_only_cache_serves_what_it_has_and_refuses_the_rest(tmp_path: Path, site: Site) -> None:
    cache = tmp_path / "cache"
    remount = (
        "unshare",
        "--mount",
        "sh",
        "-c",
        f'mount --bind {cache} {cache} && mount -o remount,ro,bind {cache} && exec "$@"',
        "sh",
    )
    cache.mkdir()
    process = fetching(cache, site, remount)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 11, output
    assert f"The artifact cache {cache} cannot be used: Read-only file system" in output
    assert "Traceback" not in output
    fetching(cache, site).communicate(timeout=60)
    process = fetching(cache, site, remount)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output


def real_programs() -> Path:
    """The seven programs that the set-up put into the cache."""
    library = Library(Layout(find_roots(os.environ)).artifacts, HostRunner(), ArtifactSettings())
    with SilentReporter().step("x", "") as step:
        return library.kubernetes(VERSION, None, step).directory


@pytest.mark.real
@pytest.mark.parametrize("setting", ["mirror", "official"])
def test_the_real_seven_over_http(tmp_path: Path, setting: str) -> None:
    library = Library(tmp_path / "cache", HostRunner(), ArtifactSettings(offline=True))
    for site in serve(Site(real_programs(), library.architecture)):
        library = Library(tmp_path / "cache", HostRunner(), ArtifactSettings(**{setting: site.url}))
        with SilentReporter().step("x", "") as step:
            found = library.kubernetes(VERSION, None, step)
        assert found.source == setting
        for name in KUBERNETES_PROGRAMS:
            said = subprocess.run(
                [found.directory / name, "version" if name.startswith("kubec") else "--version"], capture_output=True
            )
            assert b"v1.20.2" in said.stdout + said.stderr or name in ("kubeadm", "kubectl"), said
        assert (
            subprocess.run([found.directory / "kubeadm", "version", "-o", "short"], capture_output=True).stdout == b"v1.20.2\n"
        )


@pytest.mark.real
def test_a_bundle_of_everything_is_enough_without_a_network(tmp_path: Path) -> None:
    with SilentReporter().step("x", "") as step:
        ours = Library(Layout(find_roots(os.environ)).artifacts, HostRunner(), ArtifactSettings())
        ours.write_bundle(tmp_path / "all.tar", VERSION, step)
        settings = ArtifactSettings(offline=True)
        theirs = Library(tmp_path / "cache", HostRunner(), settings, codename="")
        found = theirs.kubernetes(VERSION, str(tmp_path / "all.tar"), step)
        root = theirs.node_root(step)
        images = theirs.images(found, ROLES, step)
    inside = ["unshare", "--mount", "chroot", root.directory]
    assert b"containerd" in subprocess.run([*inside, "containerd", "--version"], capture_output=True).stdout
    for program in ("iptables", "conntrack", "ip", "socat", "nft", "mount", "bash", "python3", "curl", "mke2fs"):
        said = subprocess.run([*inside, program, "--version" if program == "bash" else "-V"], capture_output=True)
        assert said.returncode == 0, said.stderr
    assert (root.directory / "bin").readlink() == Path("usr/bin")
    assert tuple(image.role for image in images) == ROLES
    given = {image.role for image in images if "bundles" in image.archive.parts}
    assert given == {ImageRole.PAUSE, ImageRole.ECHO, ImageRole.DNS}
