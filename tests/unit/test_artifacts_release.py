"""Mirror and official site: a real HTTP server with the official layout, whole, broken and lying."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localk8s.artifacts import web
from localk8s.artifacts.kinds import KUBERNETES_PROGRAMS
from localk8s.artifacts.library import Library
from localk8s.artifacts.settings import ArtifactSettings
from localk8s.artifacts.sums import parse_digest, parse_sums, render_sums
from localk8s.model.errors import ArtifactError, ConfigError
from localk8s.model.progress import SilentReporter
from localk8s.model.versions import NEWEST_MINOR, KubernetesVersion
from localk8s.system.process import HostRunner

VERSION = KubernetesVersion(1, 34, 10)
BASE = f"/release/{VERSION}/bin/linux/amd64"


class Site(ThreadingHTTPServer):
    """Serves a dictionary of files; some of them broken."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.breaking: Counter[str] = Counter()
        """Path -> how many more times the connection breaks in the middle."""
        self.statuses: dict[str, int] = {}
        self.lengths: dict[str, str] = {}
        self.asked: list[tuple[str, str, str]] = []
        for name in KUBERNETES_PROGRAMS:
            self.put(f"{BASE}/{name}", f"{name} of {VERSION}".encode() * 1000)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def put(self, path: str, content: bytes) -> None:
        self.files[path] = content
        self.files[f"{path}.sha256"] = hashlib.sha256(content).hexdigest().encode()

    def gets(self, path: str) -> int:
        return sum(1 for method, asked, _ in self.asked if (method, asked) == ("GET", path))


class Handler(BaseHTTPRequestHandler):
    """Answers for a ``Site``."""

    server: Site

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        site = self.server
        site.asked.append((self.command, self.path, self.headers.get("Authorization", "")))
        content = site.files.get(self.path)
        status = site.statuses.get(self.path, 200 if content is not None else 404)
        self.send_response(status)
        self.send_header("Content-Length", site.lengths.get(self.path, str(len(content or b""))))
        self.end_headers()
        if body and status == 200 and content is not None:
            if site.breaking[self.path] > 0:
                site.breaking[self.path] -= 1
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = True
            else:
                self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    server = Site()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def library(cache: Path, *, codename: str = "", **settings: str | bool) -> Library:
    return Library(cache, HostRunner(), ArtifactSettings(**settings), machine="x86_64", codename=codename)  # type: ignore[arg-type]


def fetch(found: Library, version: KubernetesVersion = VERSION) -> Path:
    with SilentReporter().step("fetch", "") as step:
        return found.kubernetes(version, None, step).directory


def everything(cache: Path) -> set[str]:
    return {str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file() and "locks" not in path.parts}


@pytest.mark.parametrize("suffix", ["", "/", "/release", "/release/"])
def test_a_mirror_gives_the_seven_once(tmp_path: Path, site: Site, suffix: str) -> None:
    mirrored = library(tmp_path, mirror=site.url + suffix)
    directory = fetch(mirrored)
    assert fetch(library(tmp_path, offline=True)) == directory
    for name in KUBERNETES_PROGRAMS:
        assert (directory / name).read_bytes() == site.files[f"{BASE}/{name}"]
        assert (directory / name).stat().st_mode & 0o777 == 0o755
        assert site.gets(f"{BASE}/{name}") == 1


def test_the_mirror_is_asked_before_the_official_site(tmp_path: Path, site: Site) -> None:
    with SilentReporter().step("fetch", "") as step:
        found = library(tmp_path, mirror=f"{site.url}/none", official=site.url).kubernetes(VERSION, None, step)
    assert found.source == "official"
    assert any(path.startswith("/none/release/") for _, path, _ in site.asked)


def test_progress_counts_bytes_over_all_files_and_never_falls(tmp_path: Path, site: Site) -> None:
    seen: list[tuple[float, float | None, str]] = []

    class Step:
        def progress(self, done: float, total: float | None, detail: str = "") -> None:
            seen.append((done, total, detail))

        def finish_as(self, title: str) -> None: ...

    site.breaking[f"{BASE}/kube-proxy"] = 1
    library(tmp_path, mirror=site.url).kubernetes(VERSION, None, Step())
    whole = sum(len(site.files[f"{BASE}/{name}"]) for name in KUBERNETES_PROGRAMS)
    counted = [done for done, _, _ in seen]
    assert counted == sorted(counted)
    assert seen[-1][:2] == (whole, whole)
    assert "kube-scheduler  4 of 7" in {detail for _, _, detail in seen}


def test_a_file_that_is_not_what_its_digest_says_is_refused_and_named(tmp_path: Path, site: Site) -> None:
    site.files[f"{BASE}/kubelet"] = b"evil"
    with pytest.raises(ArtifactError, match=rf"{BASE}/kubelet is not what its digest says") as caught:
        fetch(library(tmp_path, mirror=site.url, official=site.url, codename="bookworm"))
    assert hashlib.sha256(b"evil").hexdigest() in caught.value.message
    assert not any("kubelet" in name for name in everything(tmp_path))
    site.put(f"{BASE}/kubelet", b"good")
    assert (fetch(library(tmp_path, mirror=site.url)) / "kubelet").read_bytes() == b"good"
    assert site.gets(f"{BASE}/kubeadm") == 1  # what was whole is not fetched again


def test_a_connection_that_breaks_once_is_tried_again(tmp_path: Path, site: Site) -> None:
    site.breaking[f"{BASE}/kube-proxy"] = 1
    assert (fetch(library(tmp_path, mirror=site.url)) / "kube-proxy").read_bytes() == site.files[f"{BASE}/kube-proxy"]
    assert site.gets(f"{BASE}/kube-proxy") == 2


def test_a_connection_that_keeps_breaking_leaves_nothing_half_written(tmp_path: Path, site: Site) -> None:
    site.breaking[f"{BASE}/kube-apiserver"] = 2
    with pytest.raises(ArtifactError, match="kube-apiserver could not be downloaded: the connection ended after"):
        fetch(library(tmp_path, mirror=site.url))
    assert everything(tmp_path) == set()
    assert fetch(library(tmp_path, mirror=site.url)).is_dir()


def test_a_program_without_a_digest_is_refused(tmp_path: Path, site: Site) -> None:
    site.files[f"{BASE}/kubectl.sha256"] = b"<html>login</html>"
    with pytest.raises(ArtifactError, match=r"kubectl\.sha256 holds no SHA-256"):
        fetch(library(tmp_path, mirror=site.url))
    del site.files[f"{BASE}/kubectl.sha256"]
    with pytest.raises(ArtifactError, match=r"No source gives Kubernetes v1\.34\.10.*kubectl\.sha256 is not there"):
        fetch(library(tmp_path, mirror=site.url))


def test_a_version_that_nobody_has_names_every_source(tmp_path: Path, site: Site) -> None:
    with pytest.raises(ArtifactError) as caught:
        fetch(library(tmp_path, mirror=site.url, codename="bookworm"), KubernetesVersion(1, 30, 0))
    assert "mirror: " in caught.value.message
    assert "Debian's source package: it holds v1.20.2 only" in caught.value.message
    assert caught.value.hint == "--kubernetes-version 1.20.2"


def test_a_server_that_fails_is_no_reason_to_go_on_with_the_next(tmp_path: Path, site: Site) -> None:
    site.statuses[f"{BASE}/kubelet.sha256"] = 503
    with pytest.raises(ArtifactError, match=r"kubelet\.sha256 could not be downloaded: HTTP status 503"):
        fetch(library(tmp_path, mirror=site.url))


def test_a_server_without_head_serves_too(tmp_path: Path, site: Site) -> None:
    site.files[f"{BASE}/kubeadm"] = b"x"
    site.put(f"{BASE}/kubeadm", b"x")
    web_size = web.read_size(f"{site.url}{BASE}/kubeadm")
    assert web_size == 1
    site.statuses[f"{BASE}/kubeadm"] = 405
    assert web.read_size(f"{site.url}{BASE}/kubeadm") is None


def test_nobody_listens(tmp_path: Path, site: Site) -> None:
    nowhere = "http://127.0.0.1:9"
    with pytest.raises(ArtifactError, match="could not be downloaded: Connection refused") as caught:
        fetch(library(tmp_path, mirror=nowhere))
    assert caught.value.hint == "--artifacts DIRECTORY"


@pytest.mark.parametrize("host", ["a..b", "x" * 70, "[::1", "127.0.0.1:99999"])
def test_a_host_name_that_cannot_be(tmp_path: Path, host: str) -> None:
    with pytest.raises((ArtifactError, ConfigError)) as caught:
        fetch(library(tmp_path, mirror=f"http://{host}/"))
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("length", ["junk", "-5", ""])
def test_a_strange_length_is_no_trouble(tmp_path: Path, site: Site, length: str) -> None:
    site.lengths[f"{BASE}/kubelet"] = length
    assert fetch(library(tmp_path, mirror=site.url)).is_dir()


def test_a_password_is_sent_and_never_shown(tmp_path: Path, site: Site) -> None:
    url = site.url.replace("//", "//us%40er:se%3Acret@")
    assert fetch(library(tmp_path / "a", mirror=url)).is_dir()
    expected = "Basic " + base64.b64encode(b"us@er:se:cret").decode()
    assert {authorization for _, _, authorization in site.asked} == {expected}
    site.files[f"{BASE}/kubelet"] = b"evil"
    with pytest.raises(ArtifactError) as caught:
        fetch(library(tmp_path / "b", mirror=url))
    assert "cret" not in caught.value.message + caught.value.hint


def test_offline_asks_nobody(tmp_path: Path, site: Site) -> None:
    alone = library(tmp_path, mirror=site.url, official=site.url, offline=True, codename="bookworm")
    with pytest.raises(ArtifactError, match="offline"):
        fetch(alone)
    with pytest.raises(ArtifactError, match="the cache is empty"):
        alone.newest_version(None)
    with pytest.raises(ArtifactError, match="offline"), SilentReporter().step("x", "") as step:
        alone.node_root(step)
    assert site.asked == []


def test_the_newest_is_what_stable_says(tmp_path: Path, site: Site) -> None:
    site.files["/release/stable.txt"] = b"v1.34.10\n"
    assert library(tmp_path, mirror=site.url, codename="bookworm").newest_version(None) == VERSION


def test_a_stable_that_is_too_new_gives_way_to_the_newest_known_minor(tmp_path: Path, site: Site) -> None:
    site.files["/release/stable.txt"] = b"v1.99.0"
    site.files[f"/release/stable-1.{NEWEST_MINOR}.txt"] = b"v1.36.9"
    assert library(tmp_path, mirror=site.url).newest_version(None) == KubernetesVersion(1, 36, 9)


def test_without_stable_the_newest_known_release_is_looked_for(tmp_path: Path, site: Site) -> None:
    site.files["/release/v1.36.3/bin/linux/amd64/kubeadm.sha256"] = b"x"
    assert library(tmp_path, mirror=site.url).newest_version(None) == KubernetesVersion(1, 36, 3)


def test_a_mirror_that_is_away_is_passed_over(tmp_path: Path) -> None:
    away = library(tmp_path, mirror="http://127.0.0.1:9", codename="bookworm")
    assert away.newest_version(None) == KubernetesVersion(1, 20, 2)
    with pytest.raises(ArtifactError, match=r"mirror: .*Connection refused"):
        library(tmp_path, mirror="http://127.0.0.1:9").newest_version(None)


def test_the_cache_counts_and_junk_in_it_does_not(tmp_path: Path, site: Site) -> None:
    fetch(library(tmp_path, mirror=site.url))
    for junk in ("kubernetes/junk-amd64", "kubernetes/v1.36.0-arm64", "kubernetes/v1.35.0-amd64"):
        (tmp_path / junk).mkdir()
    (tmp_path / "kubernetes/junk-amd64/manifest.json").write_text("{}")
    assert library(tmp_path, codename="bookworm").newest_version(None) == VERSION
    assert library(tmp_path).cached_versions() == (VERSION,)


def test_what_is_missing_and_held(tmp_path: Path, site: Site) -> None:
    debian = library(tmp_path, codename="bookworm")
    assert "built from Debian" in debian.missing(KubernetesVersion(1, 20, 2))[0].how
    assert library(tmp_path, mirror=site.url).missing(VERSION)[0].how == "downloaded"
    fetch(library(tmp_path, mirror=site.url))
    assert [item.what for item in debian.missing(VERSION)] == ["the nodes' root file system (containerd, etcd, …)"]
    (tmp_path / "work/half").mkdir(parents=True)
    held = {item.name: item for item in debian.holdings()}
    assert held["kubernetes/v1.34.10-amd64"].size > 7000
    assert [item.finished for item in held.values()] == [True, False]


@pytest.mark.parametrize(
    "url",
    ["", "mirror.example", "ftp://m/x", "file:///etc", "http://", "http://a b/", "http://m:x/", "http://m\n/", "http://ä/"],
)
def test_an_address_that_is_none_is_a_config_error(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="no http or https address"):
        web.check_base_url(url)


@given(st.text(max_size=60))
def test_any_address_is_accepted_or_refused(url: str) -> None:
    try:
        assert web.check_base_url(url).startswith(("http", "HTTP", "Http", "hTTP")) or url[:4].lower() == "http"
    except ConfigError as exc:
        assert "\n" not in exc.message


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9/._ -]{0,20}[a-z]", fullmatch=True).filter(
            lambda x: "/." not in x and "//" not in x and "./" not in x
        ),
        st.binary(min_size=32, max_size=32),
    )
)
def test_digest_lists_survive_a_round_trip(files: dict[str, bytes]) -> None:
    digests = {name: digest.hex() for name, digest in files.items()}
    assert parse_sums(render_sums(digests)) == digests


def test_digest_files_in_their_usual_shapes() -> None:
    digest = "AB" * 32
    for text in (digest, f"{digest}\n", f"{digest}  kubelet\n", f" {digest} *kubelet"):
        assert parse_digest(text) == digest.lower()
    for text in ("", "abc", digest[:-1], digest + "0", "<html>"):
        assert parse_digest(text) is None


@pytest.mark.parametrize("codename", ["bookworm", "trixie", "forky"])
def test_every_debian_builds_the_release_whose_source_one_of_them_holds(tmp_path: Path, codename: str) -> None:
    debian = library(tmp_path, codename=codename)
    assert debian.newest_version(None) == KubernetesVersion(1, 20, 2)
    assert "built from Debian" in debian.missing(KubernetesVersion(1, 20, 2))[0].how
