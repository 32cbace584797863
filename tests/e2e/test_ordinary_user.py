"""A cluster that was started by sudo, used without: by a user of this test's own, who is in no table of this host.

Two mount namespaces: one in which the user is known, for what sudo runs, and in it one in which Python and this tree can be
read by that user although they may lie below a home of root's.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request

import pytest
from localk8s_door import BINARY

from localk8s.system.paths import find_roots

pytestmark = pytest.mark.real

UID, GID, NAME = 54321, 54322, "localk8s-learner"
TREE = Path(__file__).resolve().parents[2]


def _closed(path: Path) -> Path | None:
    """The first directory on the way to ``path`` that other users cannot pass."""
    return next((each for each in reversed(path.parents) if not each.stat().st_mode & 0o001), None)


def _opening() -> str:
    """Shell lines that put what Python needs, and no more, in place of directories that are closed to the user."""
    needed = sorted({Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve(), TREE})
    lines = []
    for gate in sorted({gate for path in needed if (gate := _closed(path))}):
        inside = [path for path in needed if _closed(path) == gate]
        lines += [f"mkdir -p /mnt/{n} && mount --bind {path} /mnt/{n}" for n, path in enumerate(inside)]
        lines.append(f"mount -t tmpfs -o mode=0755 none {gate}")
        lines += [f"mkdir -p {path} && mount --bind /mnt/{n} {path}" for n, path in enumerate(inside)]
    return "\n".join(["mount -t tmpfs -o mode=0755 none /mnt", *lines])


@contextmanager
def _namespace(script: str, inside: int | None = None) -> Iterator[int]:
    """A process in a mount namespace of its own, in which ``script`` has run."""
    enter = [] if inside is None else ["nsenter", f"--mount=/proc/{inside}/ns/mnt", "--"]
    argv = [*enter, "unshare", "--mount", "--propagation", "private", "sh", "-euc", f"{script}\necho ready\nexec sleep 600"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process.pid
        finally:
            process.kill()


class Learner:
    """The user: what is typed with sudo, and what without."""

    def __init__(self, place: Path, with_sudo: int, without: int) -> None:
        self.home, self.roots_home = place / "home", place / "root"
        common = {
            "PATH": f"{BINARY.parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LOCALK8S_CACHE": os.environ.get("LOCALK8S_CACHE") or str(find_roots({}).cache),
            "LOCALK8S_OFFLINE": "1",
            "COLUMNS": "120",
        }
        sudo = {"HOME": str(self.roots_home), "SUDO_UID": str(UID), "SUDO_GID": str(GID), "SUDO_USER": NAME}
        own = {"HOME": str(self.home), "USER": NAME}
        drop = ["setpriv", f"--reuid={UID}", f"--regid={GID}", "--clear-groups", "--no-new-privs"]
        self._sudo = ["nsenter", f"--mount=/proc/{with_sudo}/ns/mnt", "--", *_env({**common, **sudo})]
        self._own = ["nsenter", f"--mount=/proc/{without}/ns/mnt", "--", *drop, *_env({**common, **own})]

    def sudo(self, *arguments: str) -> str:
        """The standard output of what has to succeed as root."""
        done = _run([*self._sudo, str(BINARY), *arguments])
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def delete(self) -> None:
        """Let nothing of the cluster stay, whatever there is."""
        _run([*self._sudo, str(BINARY), "delete", "--yes"])

    def do(self, *arguments: str) -> str:
        """The standard output of what has to succeed without sudo."""
        done = _run([*self._own, str(BINARY), *arguments])
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def status(self) -> dict[str, Any]:
        """What ``status`` says without sudo, of whatever it says it."""
        found: dict[str, Any] = json.loads(_run([*self._own, str(BINARY), "status", "-o", "json"]).stdout)
        return found

    def refused(self, *arguments: str) -> str:
        """What is said where root is needed."""
        done = _run([*self._own, str(BINARY), *arguments])
        assert done.returncode == 5, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stderr

    @contextmanager
    def serving(self, *arguments: str) -> Iterator[str]:
        """The first line of a command that serves until Ctrl-C."""
        with subprocess.Popen([*self._own, str(BINARY), *arguments], stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                yield process.stdout.readline().strip()
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(20)

    def owners(self) -> dict[tuple[int, int], set[str]]:
        """Whose the files below the home are."""
        found: dict[tuple[int, int], set[str]] = {}
        for path in self.home.rglob("*"):
            seen = path.lstat()
            found.setdefault((seen.st_uid, seen.st_gid), set()).add(path.relative_to(self.home).as_posix())
        return found


def _env(variables: dict[str, str]) -> list[str]:
    return ["env", "-i", *(f"{name}={value}" for name, value in variables.items())]


def _run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240, check=False, cwd="/")


@pytest.fixture(scope="module")
def learner() -> Iterator[Learner]:
    """The user, for whom sudo has started a cluster; deleted at the end, with all the user has."""
    place = Path(tempfile.mkdtemp(prefix="localk8s-user-"))
    try:
        place.chmod(0o755)
        (place / "root").mkdir(mode=0o700)
        (place / "home").mkdir(mode=0o755)
        os.chown(place / "home", UID, GID)
        users = Path("/etc/passwd").read_text() + f"{NAME}:x:{UID}:{GID}::{place / 'home'}:/bin/sh\n"
        (place / "passwd").write_text(users)
        with ExitStack() as stack:
            known = stack.enter_context(_namespace(f"mount --bind {place / 'passwd'} /etc/passwd"))
            reached = stack.enter_context(_namespace(_opening(), known))
            user = Learner(place, known, reached)
            try:
                user.sudo("start")
                yield user
            finally:
                user.delete()
    finally:
        shutil.rmtree(place)


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read().decode()


def _first_line(request: Request) -> str:
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.readline().decode()


def test_all_below_the_home_is_the_users_but_what_the_driver_keeps(learner: Learner) -> None:
    owners = learner.owners()
    theirs = owners.pop((UID, GID))
    assert {".kube/config", ".local/state/localk8s/clusters/default/cluster.json"} <= theirs
    assert list(owners) == [(0, 0)]
    kept = ".local/share/localk8s/native"
    assert all(name == kept or name.startswith(f"{kept}/") for name in owners[0, 0])
    assert list(learner.roots_home.iterdir()) == []


def test_looking_needs_no_sudo(learner: Learner) -> None:
    status = json.loads(learner.do("status", "-o", "json"))
    assert status["state"] == "running"
    assert learner.do("list", "-o", "name") == "default\n"
    assert learner.do("ip").strip() in status["endpoint"]
    assert learner.do("kubectl", "get", "nodes", "-o", "name") == "node/default\n"
    assert "default" in learner.do("top", "nodes")
    assert "localk8s-default" in learner.do("kubeconfig")


def test_using_needs_no_sudo(learner: Learner) -> None:
    learner.do("demo", "--replicas", "1")
    assert '"pod"' in _get(learner.do("service", "demo", "--url").strip())
    learner.do("logs", "deploy/demo")  # the echo server writes nothing, but it has to be asked
    with learner.serving("port-forward", "svc/demo", "0:8080", "-o", "name") as address:
        assert '"pod"' in _get(f"http://{address.removeprefix('http://')}")
    with learner.serving("proxy", "--port", "0", "-o", "name") as url:
        assert '"versions"' in _get(f"{url}/api" if not url.endswith("/") else f"{url}api")
    with learner.serving("dashboard", "--url") as url:
        own, _, token = url.partition("?token=")
        line = _first_line(Request(f"{own}api/stream", headers={"Authorization": f"Bearer {token}"}))
        assert line.startswith("data: {")
    assert set(learner.owners()) == {(UID, GID), (0, 0)}


def test_a_program_that_is_down_is_seen_without_sudo(learner: Learner) -> None:
    service = "/run/localk8s/service/kube-scheduler"
    try:
        learner.sudo("ssh", "default", "--", "sv", "-w", "10", "force-stop", service)
        assert "kube-scheduler is not running" in learner.status()["reasons"][0]
    finally:
        learner.sudo("ssh", "default", "--", "sv", "start", service)
    assert learner.status()["state"] == "running"


@pytest.mark.parametrize(
    "arguments",
    [
        ("start",),
        ("stop",),
        ("delete", "--yes"),
        ("node", "add"),
        ("ssh", "default", "--", "true"),
        ("image", "ls"),
        ("docker-env", "--shell", "sh"),
        ("logs", "default"),
    ],
)
def test_what_needs_root_says_so_with_the_line_to_paste(learner: Learner, arguments: tuple[str, ...]) -> None:
    said = learner.refused(*arguments)
    line, hint = said.splitlines()[:2]
    assert "root" in line
    typed = [word for word in arguments if word != "--yes"]
    assert hint.strip() == f"hint: sudo {BINARY} {' '.join(typed)}"
    assert learner.status()["state"] == "running"


def test_docker_needs_root_only_to_be_started(learner: Learner) -> None:
    learner.sudo("docker-env", "--shell", "sh")
    assert f"tcp://{learner.do('ip').strip()}:2376" in learner.do("docker-env", "--shell", "sh")
    assert set(learner.owners()) == {(UID, GID), (0, 0)}


def test_after_a_delete_nothing_is_left_of_it(learner: Learner) -> None:
    learner.sudo("delete", "--yes")
    assert learner.do("list", "-o", "name") == ""
    assert "localk8s" not in (learner.home / ".kube/config").read_text()
    assert list((learner.home / ".local/share/localk8s/native").iterdir()) == []
