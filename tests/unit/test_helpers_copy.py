"""cp between this host and a node: what is kept, what is refused, what is left of an interrupted one."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from localk8s.helpers.copy import Place, copy
from localk8s.model.errors import CommandError, NotFoundError, UsageError
from localk8s.model.node import Completed
from localk8s.model.status import NodeRole
from localk8s.system.files import write_atomic
from localk8s.system.process import HostRunner


class Here:
    """A node whose files are this host's: its commands really run."""

    name, role, address = "n1", NodeRole.WORKER, "192.0.2.1"
    interrupted = False

    def run(self, argv: Sequence[str], **more: object) -> Completed:
        if self.interrupted and "tar -xf" in " ".join(argv):
            raise KeyboardInterrupt
        return HostRunner().run(argv, **more)  # type: ignore[arg-type]

    def copy_in(self, source: Path, target: str, *, mode: int = 0o644) -> None:
        write_atomic(Path(target), source.read_bytes(), mode=mode)
        if self.interrupted and not target.endswith(".tar"):
            raise KeyboardInterrupt

    def copy_out(self, source: str, target: Path) -> None:
        write_atomic(target, Path(source).read_bytes())
        if self.interrupted:
            raise KeyboardInterrupt

    def write(self, target: str, content: str | bytes, *, mode: int = 0o644) -> None:
        write_atomic(Path(target), content, mode=mode)

    def shell(self, argv: Sequence[str] = ()) -> int:
        raise NotImplementedError


class Both:
    """A directory on the node, one on this host, and cp between them."""

    def __init__(self, top: Path) -> None:
        self.node, self.host = top / "node", top / "host"
        self.node.mkdir()
        self.host.mkdir()
        self.machine = Here()
        self.warnings: list[str] = []

    def out(self, source: str, target: str) -> None:
        copy(Place(f"{self.node}/{source}", "n1"), Place(f"{self.host}/{target}"), lambda _: self.machine, self.warnings.append)

    def into(self, source: str, target: str) -> None:
        copy(Place(f"{self.host}/{source}"), Place(f"{self.node}/{target}", "n1"), lambda _: self.machine, self.warnings.append)

    def all(self) -> list[str]:
        return sorted(path.relative_to(self.node.parent).as_posix() for path in self.node.parent.rglob("*"))


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    before = os.umask(0o022)
    yield Both(tmp_path)
    os.umask(before)


def file(path: Path, mode: int, text: str = "new") -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize(("umask", "given", "kept"), [(0o022, 0o777, 0o755), (0o022, 0o640, 0o640), (0o077, 0o755, 0o700),
                                                      (0, 0o4755, 0o755), (0o022, 0o400, 0o400)])  # fmt: skip
def test_a_file_keeps_its_mode_less_the_umask(both: Both, umask: int, given: int, kept: int) -> None:
    file(both.node / "x", given)
    os.umask(umask)
    both.out("x", "")
    both.out("x", "y")
    assert (mode(both.host / "x"), mode(both.host / "y")) == (kept, kept)


def test_a_file_that_is_there_keeps_its_mode_and_its_place(both: Both) -> None:
    file(both.node / "x", 0o755)
    file(both.host / "real", 0o600, "old")
    (both.host / "x").symlink_to("real")
    both.out("x", "x")
    assert (both.host / "x").is_symlink()
    assert ((both.host / "real").read_text(), mode(both.host / "real")) == ("new", 0o600)


def test_what_is_not_a_file_is_written_to_and_not_replaced(both: Both) -> None:
    file(both.node / "x", 0o644)
    (both.host / "null").symlink_to("/dev/null")
    both.out("x", "null")
    assert Path("/dev/null").is_char_device()


def both_ways(both: Both) -> tuple[tuple[Callable[[str, str], None], Path, Path], ...]:
    return ((both.out, both.node, both.host), (both.into, both.host, both.node))


def test_a_missing_directory_is_an_error_both_ways(both: Both) -> None:
    for go, source, _ in both_ways(both):
        file(source / "x", 0o644)
        (source / "d").mkdir()
        for what in ("x", "d"):
            for target in ("no/", "no/x", "no/no/x"):
                with pytest.raises(NotFoundError, match=r"There is no directory .*/no"):
                    go(what, target)
        with pytest.raises(NotFoundError, match=r"There is no .*/missing"):
            go("missing", "")
    assert both.all() == ["host", "host/d", "host/x", "node", "node/d", "node/x"]


def test_a_directory_and_a_file_do_not_replace_each_other(both: Both) -> None:
    for go, source, target in both_ways(both):
        (source / "d").mkdir()
        file(target / "f", 0o644)
        with pytest.raises(UsageError, match=r"The directory cannot be copied to .*/f, which is a file"):
            go("d", "f")
        file(source / "g", 0o644)
        (target / "g").mkdir()
        with pytest.raises(UsageError, match=r"The file cannot be copied to .*/g, which is a directory"):
            go("g", "")
        for path in (source, target):
            shutil.rmtree(path)
            path.mkdir()


def test_a_directory_goes_under_a_new_name_and_into_one_that_is_there(both: Both) -> None:
    for go, source, target in both_ways(both):
        (source / "d/e").mkdir(parents=True)
        (source / "d").chmod(0o750)
        file(source / "d/e/run", 0o755)
        (source / "d/l").symlink_to("e/run")
        (target / "there").mkdir()
        (target / "there/d").mkdir()
        file(target / "there/d/kept", 0o600)
        go("d", "new")
        go("d", "there")
        assert mode(target / "new") == 0o750
        for place in ("new", "there/d"):
            assert mode(target / place / "e/run") == 0o755
            assert (target / place / "l").readlink() == Path("e/run")
        assert (target / "there/d/kept").exists()
        for path in (source, target):
            shutil.rmtree(path)
            path.mkdir()
    assert not both.warnings


def test_what_is_no_file_is_left_out_with_a_warning(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    for go, source, target in both_ways(both):
        (source / "d").mkdir()
        os.mkfifo(source / "d/a-pipe")
        file(source / "d/z-file", 0o644)
        os.mknod(source / "d/device", 0o20600, os.makedev(1, 3)) if os.geteuid() == 0 else None
        with socket.socket(socket.AF_UNIX) as made:
            monkeypatch.chdir(source)  # the name of a socket must be short
            made.bind("d/socket")
        monkeypatch.chdir("/")
        go("d", "new")
        assert [path.name for path in (target / "new").iterdir()] == ["z-file"]
        said = "\n".join(both.warnings)
        assert "a-pipe" in said and "socket" in said and ("device" in said or os.geteuid())
        both.warnings.clear()
        with pytest.raises(UsageError, match="neither a file nor a directory"):
            go("d/a-pipe", "x")
        for path in (source, target):
            shutil.rmtree(path)
            path.mkdir()


def test_links_that_lead_outside_do_not_come_out_of_a_node(both: Both) -> None:
    (both.node / "d").mkdir()
    (both.node / "d/passwd").symlink_to("/etc/passwd")
    both.out("d", "new")
    assert list((both.host / "new").iterdir()) == []
    assert "a link that may lead outside ('/etc/passwd')" in both.warnings[0]


def test_nothing_is_left_of_an_interrupted_copy(both: Both) -> None:
    for go, source, target in both_ways(both):
        (source / "d").mkdir()
        file(source / "d/x", 0o644)
        file(source / "f", 0o644)
        file(target / "old", 0o644, "old")
        both.machine.interrupted = True
        before = both.all()
        for what, where in (("d", "new"), ("f", "new"), ("f", "old")):
            with pytest.raises(KeyboardInterrupt):
                go(what, where)
        assert both.all() == before and (target / "old").read_text() == "old"
        both.machine.interrupted = False
        for path in (source, target):
            shutil.rmtree(path)
            path.mkdir()
    assert not list(Path("/tmp").glob("localk8s-cp-*"))


def test_a_place_that_cannot_be_written_is_one_sentence(both: Both) -> None:
    file(both.node / "x", 0o644)
    with pytest.raises((CommandError, NotFoundError)) as caught:
        copy(Place(f"{both.node}/x", "n1"), Place("/proc/x"), lambda _: both.machine, both.warnings.append)
    assert "\n" not in caught.value.message
