"""Mounts: once each, listed as they are, and gone when they are said to be."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localk8s.cluster.mounts import Mounts
from localk8s.drivers.base import SupportsMount
from localk8s.helpers.mount import Mount, decode, encode, mount_points
from localk8s.model.errors import CommandError, NotFoundError, WrongStateError
from localk8s.model.node import Completed, Node
from localk8s.model.progress import SilentReporter
from localk8s.model.spec import ClusterSpec


class Kernel:
    """Nodes and what is mounted on them: as the native driver, it lets mounts lie on each other."""

    def __init__(self, *names: str) -> None:
        self.points: dict[str, list[str]] = {name: ["/", "/proc"] for name in names}
        self.off: set[str] = set()
        self.busy = False
        self.refuse = ""

    def mount(self, spec: ClusterSpec, node: str, source: Path, target: str) -> None:
        if node == self.refuse:
            raise CommandError(("mount",), 1)
        self.points[node].append(target)

    def unmount(self, spec: ClusterSpec, node: str, target: str) -> None:
        if target not in self.points[node]:
            raise CommandError(("umount", target), 32)
        if not self.busy:
            self.points[node].remove(target)

    def nodes(self) -> tuple[Node, ...]:
        return tuple(cast(Node, _Node(self, name)) for name in self.points)


class _Node:
    def __init__(self, kernel: Kernel, name: str) -> None:
        self._kernel = kernel
        self.name = name

    def run(self, argv: list[str]) -> Completed:
        if self.name in self._kernel.off:
            raise WrongStateError(f"Node {self.name} is not running.")
        lines = [f"1 1 0:1 / {point} rw - ext4 /dev/x rw" for point in self._kernel.points[self.name]]
        return Completed(tuple(argv), 0, "\n".join(lines), "")


def _mounts(kernel: Kernel, tmp_path: Path) -> Mounts:
    spec: Any = type("Spec", (), {"name": "default"})()
    return Mounts(cast(SupportsMount, kernel), spec, tmp_path / "mounts.json", SilentReporter())


HERE = Path("/here")


def test_twice_is_once_and_removed_is_gone(tmp_path: Path) -> None:
    kernel = Kernel("a", "b")
    mounts = _mounts(kernel, tmp_path)
    for _ in range(2):
        mounts.add(kernel.nodes(), HERE, "/src", off_too=False)
        assert [points.count("/src") for points in kernel.points.values()] == [1, 1]
    assert mounts.mounted(kernel.nodes()) == (Mount("a", "/here", "/src"), Mount("b", "/here", "/src"))
    with pytest.raises(WrongStateError, match="already") as caught:
        mounts.add(kernel.nodes(), Path("/there"), "/src", off_too=False)
    assert caught.value.hint == "localk8s mount --remove /src"
    mounts.remove(kernel.nodes(), "/src", off_too=False)
    assert mounts.mounted(kernel.nodes()) == ()
    with pytest.raises(NotFoundError, match="Nothing is mounted at /src on any node"):
        mounts.remove(kernel.nodes(), "/src", off_too=False)


def test_what_was_stacked_before_goes_whole_and_what_stays_is_said(tmp_path: Path) -> None:
    kernel = Kernel("a")
    mounts = _mounts(kernel, tmp_path)
    kernel.points["a"] += ["/src", "/src", "/src"]
    mounts.remove(kernel.nodes(), "/src", off_too=False)
    assert "/src" not in kernel.points["a"]
    mounts.add(kernel.nodes(), HERE, "/src", off_too=False)
    kernel.busy = True
    with pytest.raises(CommandError, match="still mounted"):
        mounts.remove(kernel.nodes(), "/src", off_too=False)
    assert mounts.mounted(kernel.nodes()) == (Mount("a", "/here", "/src"),)


def test_all_nodes_or_none(tmp_path: Path) -> None:
    kernel = Kernel("a", "b")
    kernel.refuse = "b"
    mounts = _mounts(kernel, tmp_path)
    with pytest.raises(CommandError):
        mounts.add(kernel.nodes(), HERE, "/src", off_too=False)
    assert "/src" not in kernel.points["a"]
    assert decode((tmp_path / "mounts.json").read_text()) == ()


def test_a_node_that_is_off_is_left_out_unless_it_is_named(tmp_path: Path) -> None:
    kernel = Kernel("a", "b")
    kernel.off = {"b"}
    mounts = _mounts(kernel, tmp_path)
    with pytest.raises(WrongStateError, match="b is not running"):
        mounts.add(kernel.nodes(), HERE, "/src", off_too=True)
    mounts.add(kernel.nodes(), HERE, "/src", off_too=False)
    assert mounts.mounted(kernel.nodes()) == (Mount("a", "/here", "/src"),)
    kernel.off = {"a", "b"}
    with pytest.raises(WrongStateError, match="No node is running"):
        mounts.add(kernel.nodes(), HERE, "/src", off_too=False)


def test_a_list_is_believed_only_where_the_kernel_agrees(tmp_path: Path) -> None:
    kernel = Kernel("a")
    mounts = _mounts(kernel, tmp_path)
    mounts.add(kernel.nodes(), HERE, "/src", off_too=False)
    kernel.points["a"] = ["/"]  # switched off and on
    assert mounts.mounted(kernel.nodes()) == ()
    mounts.add(kernel.nodes(), HERE, "/src", off_too=False)
    assert kernel.points["a"].count("/src") == 1
    (tmp_path / "mounts.json").write_text("[{]")
    assert mounts.mounted(kernel.nodes()) == ()


def test_mount_points_with_blanks() -> None:
    assert mount_points("36 35 98:0 /mnt1 /a\\040b\\134 rw - ext3 /dev/root rw\nshort\n") == ("/a b\\",)


@given(st.lists(st.builds(Mount, st.text(), st.text(), st.text()), unique=True))
def test_a_list_is_read_as_it_was_written(mounts: list[Mount]) -> None:
    assert decode(encode(mounts)) == tuple(sorted(mounts))
