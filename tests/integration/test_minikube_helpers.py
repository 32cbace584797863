"""Images, mounts and minikube's own dashboard over the fake minikube: what a user types, and what is found out.

What minikube calls success, and is none, is an error here; what it cannot do is exit 8 with what to do instead.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from minikube_world import World
from small_images import write_image

MAIN = "import sys; from localk8s.cli.app import main; sys.exit(main())"
APP = "docker.io/library/app:1"


class Typed:
    """A user's shell in one world, with clusters of one node (docker), and of two."""

    def __init__(self, world: World, root: Path) -> None:
        self.world, self.root = world, root
        home = root / "l8s"
        (home / "config").mkdir(parents=True)
        (home / "config" / "config.yaml").write_text("sources: {offline: true}\n")
        self.environment = {
            **os.environ, "LOCALK8S_HOME": str(home), "KUBECONFIG": str(root / "kubeconfig"), "NO_COLOR": "1",
        }  # fmt: skip

    def spawn(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", MAIN, *words], env=self.environment, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def __call__(self, *words: str, code: int = 0) -> str:
        """Its standard output; of one that shall fail, its standard error."""
        process = self.spawn(*words)
        out, err = process.communicate(timeout=120)
        assert "Traceback" not in err, err
        assert process.returncode == code, (words, process.returncode, out, err)
        return err if code else out

    def listed(self) -> dict[str, str]:
        return {item["name"]: item["id"] for item in json.loads(self("image", "ls", "-o", "json"))["items"]}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Typed]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        root = tmp_path_factory.mktemp("minikube")
        shell = Typed(World(root, monkeypatch), root)
        shell("start", "--driver", "minikube", "--vm-driver", "docker")
        yield shell
        shell("delete", "--yes")
        assert not [each for each in psutil.process_iter(["cmdline"]) if str(shell.world.home) in str(each.info["cmdline"])]
        shell.world.close()


@pytest.fixture
def typed(shared: Typed) -> Iterator[Typed]:
    """The cluster of this module, with nothing going wrong and no images."""
    yield shared
    shared.world.scenario()
    shared.world.forget_calls()
    (shared.world.root / "images" / "localk8s-default.json").unlink(missing_ok=True)


def test_an_image_is_loaded_listed_saved_tagged_and_removed(typed: Typed, tmp_path: Path) -> None:
    identity = write_image(tmp_path / "a.tar", "app:1", {"data": b"1"})
    said = json.loads(typed("image", "load", str(tmp_path / "a.tar"), "-o", "json"))["items"]
    assert said == [{"name": APP, "id": identity, "nodes": ["localk8s-default"], "sentBytes": said[0]["sentBytes"]}]
    assert typed.listed()[APP] == identity
    assert APP in typed("image", "ls")
    typed("image", "tag", "app:1", "other.example/app:2")
    assert typed.listed()["other.example/app:2"] == identity
    typed("image", "save", "app:1", str(tmp_path / "b.tar"))
    assert (tmp_path / "b.tar").stat().st_mode & 0o777 == 0o600
    typed("image", "rm", "app:1")
    assert APP not in typed.listed() and "other.example/app:2" in typed.listed()
    typed("image", "load", str(tmp_path / "b.tar"))
    assert typed.listed()[APP] == identity
    renamed = write_image(tmp_path / "c.tar", "what:1", {"data": b"2"})
    typed("image", "load", str(tmp_path / "c.tar"), "--name", "mine:3")
    assert typed.listed()["docker.io/library/mine:3"] == renamed
    assert "docker.io/library/what:1" not in typed.listed()


def test_what_minikube_calls_success_is_looked_at(typed: Typed, tmp_path: Path) -> None:
    write_image(tmp_path / "a.tar", "app:1", {"data": b"1"})
    typed.world.scenario(image="lies")
    assert "did not load" in typed("image", "load", str(tmp_path / "a.tar"), code=6)
    typed.world.scenario(image="fails on localk8s-default-m02")
    assert "on localk8s-default-m02, although it says so" in typed("image", "load", str(tmp_path / "a.tar"), code=6)
    typed.world.scenario()
    typed("image", "load", str(tmp_path / "a.tar"))
    for words in (("rm", "app:1"), ("tag", "app:1", "app:2"), ("save", "app:1", str(tmp_path / "b.tar"))):
        typed.world.scenario(image=["", "lies", ""])
        assert "minikube did not" in typed("image", *words, code=6)
    assert not (tmp_path / "b.tar").exists()
    typed.world.scenario()
    assert "No node has an image" in typed("image", "rm", "nobody:1", code=3)


def test_pull_goes_by_the_log_and_by_mirrors(typed: Typed, tmp_path: Path) -> None:
    typed.world.scenario(registry=["mirror.example/library/app:1"])
    assert "did not pull" in typed("image", "pull", "app:1", code=6)
    config = Path(typed.environment["LOCALK8S_HOME"]) / "config" / "config.yaml"
    config.write_text("sources: {offline: true}\nmirrors:\n  docker.io: [dead.example, mirror.example]\n")
    typed("image", "pull", "app:1")
    assert list(typed.listed()) == [APP], "it has the name that manifests use"
    config.write_text("sources: {offline: true}\n")


def test_a_build_that_fails_is_an_error_although_minikube_exits_0(typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    typed("image", "build", "-t", "app", str(tmp_path))
    typed("image", "build", "-t", "app:1", "--build-arg", "A=1", str(tmp_path))
    built = typed.listed()[APP]
    assert (
        typed.world.calls("image build")[0][-1] == "--alsologtostderr" and "--all=true" in typed.world.calls("image build")[0]
    )
    (tmp_path / "Dockerfile").write_text("FROM scratch\nRUN false\n")
    assert "minikube did not build app:1" in typed("image", "build", "-t", "app:1", str(tmp_path), code=6)
    assert typed.listed()[APP] == built
    assert "not in it" in typed("image", "build", "-t", "app:1", "-f", "/etc/hostname", str(tmp_path), code=8)


def test_nothing_happens_on_a_stopped_cluster(typed: Typed, tmp_path: Path) -> None:
    write_image(tmp_path / "a.tar", "app:1", {"data": b"1"})
    typed("stop")
    for words in (("load", str(tmp_path / "a.tar")), ("ls",), ("pull", "app:1")):
        assert "hint: localk8s start" in typed("image", *words, code=4)
    typed("start")


@pytest.mark.skipif(os.geteuid() != 0, reason="the fake's machines have mounts of their own as root only")
def test_a_mount_lives_until_it_is_taken_away_or_the_cluster_is_stopped(typed: Typed, tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    (source / "file").write_text("from here")
    typed("mount", f"{source}:/srv/code")
    assert typed("ssh", "--", "cat", "/srv/code/file") == "from here"
    typed("ssh", "--", "sh", "-c", "echo back >/srv/code/answer")
    assert (source / "answer").read_text() == "back\n"
    typed("mount", f"{source}:/srv/code")
    assert len(_serving(source)) == 1, "once at each place"
    typed("start")
    assert typed("ssh", "--", "cat", "/srv/code/file") == "from here", "a start of what runs leaves it alone"
    typed("mount", "--remove", "/srv/code")
    typed("ssh", "--", "test", "!", "-e", "/srv/code/file")
    assert not _serving(source)
    typed("mount", f"{source}:/srv/code")
    typed("stop")
    assert not _serving(source)
    typed("start")


def _serving(source: Path) -> list[psutil.Process]:
    return [each for each in psutil.process_iter(["cmdline"]) if f"{source}:/srv/code" in (each.info["cmdline"] or [])]


def test_what_minikube_cannot_do_says_what_to_do_instead(typed: Typed, tmp_path: Path) -> None:
    typed.world.scenario(mount="no 9p")
    assert "9p" in typed("mount", f"{tmp_path}:/srv/code", code=5)
    assert "hint: localk8s image load" in typed("registry", "start", code=8)
    assert "hint: localk8s image save" in typed("image", "save", "a:1", "b:1", "x.tar", code=8)
    typed("start", "-c", "two", "--driver", "minikube", "--vm-driver", "docker", "--nodes", "2")
    try:
        hint = "hint: localk8s mount -c two --node localk8s-two .:/src"
        typed.world.scenario()
        assert hint in typed("mount", "-c", "two", f"{tmp_path}:/srv/code", code=8)
        assert not _serving(tmp_path), "all of them or none"
        write_image(tmp_path / "a.tar", "app:1", {"data": b"1"})
        refused = typed("image", "load", "-c", "two", "--node", "localk8s-two", str(tmp_path / "a.tar"), code=8)
        assert "all nodes together" in refused
    finally:
        typed("delete", "-c", "two", "--yes")


def test_minikubes_own_dashboard_is_served_until_the_end(typed: Typed) -> None:
    process = typed.spawn("dashboard", "--ui", "minikube", "--url")
    assert process.stdout is not None and process.stderr is not None
    with contextlib.closing(process.stdout), contextlib.closing(process.stderr):
        address = process.stdout.readline().strip()
        assert address.endswith("/services/http:kubernetes-dashboard:/proxy/")
        with urllib.request.urlopen(address, timeout=10) as answer:
            assert answer.read() == b"Kubernetes Dashboard"
        process.send_signal(signal.SIGINT)
        process.wait(20)
    deadline = time.monotonic() + 10
    while typed.world.running("dashboard"):
        assert time.monotonic() < deadline, "its proxy is left"
        time.sleep(0.1)
    assert "is no dashboard" in typed("dashboard", "--ui", "fancy", code=2)
