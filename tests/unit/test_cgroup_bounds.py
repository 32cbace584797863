"""Bounds of control groups: what is written, what is read back, on trees of both versions; errors name the bound."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from localk8s.drivers.native.bounds import check_disk
from localk8s.model.errors import PrerequisiteError
from localk8s.model.quantities import GIB, MIB
from localk8s.system.cgroups import ControlGroup, Hierarchy

PATH = "localk8s-1a2b3c-default/default"
NEW = {
    1: {
        "cpu": {"cpu.cfs_period_us": "100000\n", "cpu.cfs_quota_us": "-1\n"},
        "memory": {"memory.limit_in_bytes": "9223372036854771712\n"},
    },
    2: {"": {"cpu.max": "max 100000\n", "memory.max": "max\n", "cgroup.controllers": "cpu memory\n"}},
}
"""What a new group holds, by version and controller."""


@pytest.fixture(params=[1, 2], ids=["v1", "v2"])
def group(request: pytest.FixtureRequest, tmp_path: Path) -> ControlGroup:
    hierarchies = []
    for controller, files in NEW[request.param].items():
        mount = tmp_path / (controller or "unified")
        (mount / PATH).mkdir(parents=True)
        hierarchies.append(Hierarchy(mount, request.param, frozenset(filter(None, [controller]))))
        for name, content in files.items():
            (mount / PATH / name).write_text(content)
    return ControlGroup(tuple(hierarchies), PATH)


def held(group: ControlGroup) -> dict[str, str]:
    files = [file for directory in group.directories for file in directory.iterdir() if file.name != "cgroup.controllers"]
    return {file.name: file.read_text().strip() for file in files}


def file_of(group: ControlGroup, pattern: str) -> Path:
    return next(file for directory in group.directories for file in directory.iterdir() if re.match(pattern, file.name))


BOUND = {
    1: {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "150000", "memory.limit_in_bytes": str(GIB)},
    2: {"cpu.max": "150000 100000", "memory.max": str(GIB)},
}
FREE = {
    1: {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "-1", "memory.limit_in_bytes": "-1"},
    2: {"cpu.max": "max 100000", "memory.max": "max"},
}


def test_bounds_are_written_and_lifted(group: ControlGroup) -> None:
    version = group.hierarchies[0].version
    group.bound(cpus=Decimal("1.5"), memory=GIB)
    assert held(group) == BOUND[version]
    if version == 2:  # version 1 shows a lifted bound as a huge one, a plain file as it was written
        group.bound(cpus=None, memory=None)
        assert held(group) == FREE[version]


def test_memory_that_is_no_whole_page_is_what_the_kernel_makes_of_it(
    group: ControlGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_text

    def rounding(file: Path, text: str) -> int:
        return write(file, str(int(text) // 4096 * 4096) if file.name.startswith("memory.") else text)

    monkeypatch.setattr(Path, "write_text", rounding)
    group.bound(cpus=None, memory=GIB + 100)
    assert file_of(group, r"memory\.(max|limit)").read_text() == str(GIB)


@pytest.mark.parametrize(("pattern", "named"), [(r"cpu\.(max|cfs_quota)", "CPUs"), (r"memory\.(max|limit)", "memory")])
class TestABoundThatTheKernelDoesNotHold:
    def test_a_failed_write_is_an_error(self, group: ControlGroup, pattern: str, named: str) -> None:
        file = file_of(group, pattern)
        file.unlink()
        file.symlink_to("/dev/full")
        with pytest.raises(PrerequisiteError, match=rf"bound on the {named} of node n cannot be set .*No space left"):
            group.bound(cpus=Decimal(1), memory=GIB, of="node n")

    def test_a_write_without_effect_is_an_error(
        self, group: ControlGroup, pattern: str, named: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write, deaf = Path.write_text, file_of(group, pattern)
        monkeypatch.setattr(Path, "write_text", lambda file, text: len(text) if file == deaf else write(file, text))
        with pytest.raises(PrerequisiteError, match=rf"bound on the {named} of node n cannot be set to .*holds no bound"):
            group.bound(cpus=Decimal(1), memory=GIB, of="node n")

    def test_another_value_than_the_one_written_is_an_error(
        self, group: ControlGroup, pattern: str, named: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write, stubborn = Path.write_text, file_of(group, pattern)

        def twice(file: Path, text: str) -> int:
            first, *rest = text.split()
            return write(file, " ".join([str(2 * int(first)), *rest]) if file == stubborn else text)

        monkeypatch.setattr(Path, "write_text", twice)
        with pytest.raises(PrerequisiteError, match=f"bound on the {named} .* the kernel holds 2"):
            group.bound(cpus=Decimal(1), memory=GIB)

    def test_a_missing_controller_is_an_error_only_for_who_asks_for_a_bound(
        self, group: ControlGroup, pattern: str, named: str
    ) -> None:
        file = file_of(group, pattern)
        file.unlink()
        with pytest.raises(PrerequisiteError, match=rf"bound on the {named} .*(have no|does not delegate)"):
            group.bound(cpus=Decimal(1), memory=GIB)
        group.bound(cpus=None if named == "CPUs" else Decimal(1), memory=None if named == "memory" else GIB)


def test_version_2_names_the_group_that_does_not_hand_a_controller_down(tmp_path: Path) -> None:
    (tmp_path / PATH).mkdir(parents=True)
    (tmp_path / "cgroup.controllers").write_text("cpu memory io\n")
    group = ControlGroup((Hierarchy(tmp_path, 2, frozenset()),), PATH)
    with pytest.raises(PrerequisiteError, match=re.escape(f"{tmp_path} does not delegate its memory controller")):
        group.bound(cpus=None, memory=GIB)


@pytest.mark.parametrize(
    ("held", "right"), [(20 * GIB, True), (19 * GIB, True), (20 * GIB + 1, False), (75 * GIB, False), (GIB, False)]
)
def test_a_disk_of_another_size_is_an_error(held: int, right: bool) -> None:
    if right:
        check_disk(held, 20 * GIB, of="node n")
    else:
        with pytest.raises(PrerequisiteError, match=r"disk of node n is not 20\.0 GiB: the kernel counts"):
            check_disk(held, 20 * GIB, of="node n")


def test_the_smallest_disk_passes_its_own_check() -> None:
    check_disk(int(256 * MIB * 0.89), 256 * MIB, of="node n")
