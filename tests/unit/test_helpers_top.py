"""What nodes use and have: bounds before capacities, the kernel's figures where the kubelet has none, else unknown."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from localk8s.cli.observing import _table
from localk8s.drivers.base import NodeFigures
from localk8s.helpers import top
from localk8s.kube.rest import RestClient
from localk8s.model.errors import KubernetesError
from localk8s.model.quantities import GIB, MIB
from localk8s.model.spec import NodeSize
from localk8s.system.cgroups import ControlGroup, Hierarchy

HOST = {"cpu": "8", "memory": "24Gi"}
SIZE = NodeSize(cpus=Decimal(2), memory=2 * GIB)
UNMEASURED = {"node": {"cpu": {"usageNanoCores": 0}, "memory": {"workingSetBytes": 0}}}
"""What a kubelet 1.20 says on control groups of version 2."""
MEASURED = {"node": {"cpu": {"usageNanoCores": 5e8}, "memory": {"workingSetBytes": GIB}}}


class FakeApi:
    """An API with one node, whose kubelet says ``summary``; None is no answer."""

    def __init__(self, summary: Mapping[str, Any] | None) -> None:
        self._summary = summary

    def get(self, path: str, **_: object) -> Mapping[str, Any]:
        if path.endswith("/nodes"):
            return {"items": [{"metadata": {"name": "n"}, "status": {"capacity": HOST}}]}
        if self._summary is None:
            raise KubernetesError("no answer")
        return self._summary

    def close(self) -> None:
        pass


def look(summary: Mapping[str, Any] | None, size: NodeSize = SIZE, figures: top.FiguresOf | None = None) -> top.NodeUsage:
    (node,) = top.look(cast(RestClient, FakeApi(summary)), size, figures).nodes
    return node


@pytest.mark.parametrize(
    ("size", "total"),
    [
        (SIZE, (2.0, 2 * GIB)),
        (NodeSize(), (8.0, 24 * GIB)),
        (NodeSize(cpus=Decimal("0.5"), memory=None), (0.5, 24 * GIB)),
        (NodeSize(cpus=Decimal(16), memory=32 * GIB), (8.0, 24 * GIB)),
    ],
)
def test_a_node_has_its_bound_not_what_its_kubelet_sees_of_the_host(size: NodeSize, total: tuple[float, int]) -> None:
    node = look(MEASURED, size)
    assert (node.cpu_total, node.memory_total) == total


def test_what_a_kubelet_measures_counts() -> None:
    node = look(MEASURED, figures=lambda name: pytest.fail("nobody has to ask"))
    assert (node.cpu, node.memory) == (0.5, GIB)


@pytest.mark.parametrize("summary", [UNMEASURED, {"node": {}}, None])
class TestAKubeletWithoutFigures:
    def test_unknown_is_not_zero(self, summary: Mapping[str, Any] | None) -> None:
        node = look(summary)
        assert (node.cpu, node.memory) == (None, None)
        table = _table(top.Usage((node,), ()), pods=False, width=0)
        assert table.count("unknown") == 2 and "0m" not in table and " 0 B" not in table

    def test_the_groups_own_figures_are_shown(self, summary: Mapping[str, Any] | None, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = iter([100.0, 102.0])
        monkeypatch.setattr(top.time, "monotonic", lambda: next(clock))
        monkeypatch.setattr(top, "_SAMPLE", 0)
        used = iter([NodeFigures(10.0, 300 * MIB), NodeFigures(11.0, 400 * MIB)])
        node = look(summary, figures=lambda name: next(used))
        assert (node.cpu, node.memory) == (0.5, 400 * MIB)

    def test_no_figures_anywhere_stay_unknown(self, summary: Mapping[str, Any] | None) -> None:
        node = look(summary, figures=lambda name: None)
        assert (node.cpu, node.memory) == (None, None)


FIRST = {
    "cpuacct": {"cpuacct.usage": "2500000000\n"},
    "memory": {"memory.usage_in_bytes": "1000\n", "memory.stat": "inactive_file 1\ntotal_inactive_file 300\n"},
    "pids": {},
}
SECOND = {
    "": {"cpu.stat": "usage_usec 2500000\nuser_usec 1\n", "memory.current": "1000\n", "memory.stat": "inactive_file 300\n"}
}


@pytest.mark.parametrize(("version", "files"), [(1, FIRST), (2, SECOND)])
def test_a_group_says_what_it_used(tmp_path: Path, version: int, files: dict[str, dict[str, str]]) -> None:
    hierarchies = []
    for controller, content in files.items():
        (tmp_path / controller / "g").mkdir(parents=True)
        hierarchies.append(Hierarchy(tmp_path / controller, version, frozenset()))
        for name, text in content.items():
            (tmp_path / controller / "g" / name).write_text(text)
    group = ControlGroup(tuple(hierarchies), "g")
    assert group.usage() == (2.5, 700)
    for directory in group.directories:
        for name in ("memory.usage_in_bytes", "memory.current"):
            if (directory / name).exists():
                (directory / name).write_text("0")
    assert group.usage() == (2.5, 0), "a new group that has nothing yet is measured too"
    assert ControlGroup(tuple(hierarchies), "gone").usage() is None
