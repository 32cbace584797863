"""What native clusters lose to kills and to other programs, seen in the few files that say so."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

import pytest

from localk8s import Cluster
from localk8s.drivers.bridge_rules import BridgeRules
from localk8s.drivers.host_routes import kernel_routes
from localk8s.drivers.native import inspection, network
from localk8s.drivers.native.plan import ClusterPlan, choose_network
from localk8s.drivers.registry import Registry
from localk8s.model.errors import WrongStateError
from localk8s.model.node import Completed, Runner
from localk8s.system.environment import Environment
from localk8s.testing import FakeDriver
from localk8s.wiring import Installation

PLAN = ClusterPlan("demo", "0a1b2c", choose_network([]))
ROUTES = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
up0	00000000	026433C6	0003	0	0	0	00000000	0	0	0
lk8s-0a1b2c	0000530A	00000000	0001	0	0	0	0000FFFF	0	0	0
*	0000640A	00000000	0201	0	0	4000000000	0000FFFF	0	0	0
"""


class Answers:
    """A runner whose every command ends with one exit code."""

    def __init__(self, code: int) -> None:
        self.code = code

    def run(self, argv: list[str], **options: object) -> Completed:
        return Completed(tuple(argv), self.code, "", "")


def test_routes_as_the_kernel_lists_them() -> None:
    assert kernel_routes(ROUTES) == (
        (IPv4Network("0.0.0.0/0"), False),
        (IPv4Network("10.83.0.0/16"), False),
        (IPv4Network("10.100.0.0/16"), True),
    )


@pytest.mark.parametrize(
    ("stat", "runs"),
    [
        ("run\n", True),
        ("run, want up\n", True),
        ("run, paused\n", False),
        ("run, want down, got TERM\n", False),
        ("down\n", False),
        ("down, want up\n", False),
        ("finish\n", False),
    ],
)
def test_what_runit_says_of_a_program(stat: str, runs: bool) -> None:
    assert inspection._runs(stat) is runs


def _laid(plan: ClusterPlan, count: int) -> list[tuple[IPv4Network, bool]]:
    batch = network.host_batch(plan) + network.route_batch(plan, plan.nodes(count))
    words = [line.removeprefix("route replace ").split() for line in batch.splitlines()]
    return [(IPv4Network(line[1]), True) if line[0] == "unreachable" else (IPv4Network(line[0]), False) for line in words]


def test_every_route_that_is_laid_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    laid = _laid(PLAN, 3)
    assert len(laid) == 3 + 3 + 1
    monkeypatch.setattr(network, "kernel_routes", lambda: tuple(laid))
    assert network.what_is_missing(_runner(0), PLAN, 3) == ""
    assert network.what_is_missing(_runner(1), PLAN, 3) == "firewall rules"
    for route in laid:
        rest = tuple(each for each in laid if each != route)
        monkeypatch.setattr(network, "kernel_routes", lambda rest=rest: rest)
        assert network.what_is_missing(_runner(0), PLAN, 3) == "routes", route


@pytest.mark.parametrize(("code", "there"), [(0, True), (1, False), (2, False), (3, True), (4, True)])
def test_who_may_not_look_at_rules_does_not_call_them_missing(code: int, there: bool) -> None:
    assert network.rules(PLAN).are_there(_runner(code)) is there


def _runner(code: int) -> Runner:
    return Answers(code)  # type: ignore[return-value]


def test_rules_let_the_bridge_pass_and_only_an_uplink_hides_addresses() -> None:
    rules = BridgeRules("lk8s-0a1b2c", IPv4Network("10.83.0.0/16"))
    assert len(rules.chain) <= 28, "iptables takes no longer name"
    alone, online = rules.rules(uplink=False).splitlines(), rules.rules(uplink=True).splitlines()
    assert alone.count("-A LOCALK8S-lk8s-0a1b2c -i lk8s-0a1b2c -j ACCEPT") == 1
    assert alone.count("-A LOCALK8S-lk8s-0a1b2c -o lk8s-0a1b2c -j ACCEPT") == 1
    assert [line for line in online if line not in alone] == [
        "-A LOCALK8S-lk8s-0a1b2c -s 10.83.0.0/16 ! -o lk8s-0a1b2c -j MASQUERADE"
    ]


class Unreachable(FakeDriver):
    """A driver that knows that its cluster is off."""

    def check_reachable(self, spec: object) -> None:
        raise WrongStateError("It is off.")


def test_nothing_dials_a_cluster_that_is_known_to_be_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Environment({"LOCALK8S_HOME": str(tmp_path), "KUBECONFIG": str(tmp_path / "config"), "PATH": "/bin"})
    installation = Installation(environment, registry=Registry({"fake": "localk8s.testing:build"}, plugins=list))
    cluster = Cluster("off", installation=installation)
    cluster.start()
    monkeypatch.setattr(Installation, "driver", lambda self, *more, **options: Unreachable(tmp_path / "data/fake"))
    monkeypatch.setattr(Cluster, "kubectl_program", lambda self: "true")
    for dials in (cluster.client, cluster.services, lambda: cluster.kubectl(["get", "nodes"])):
        with pytest.raises(WrongStateError) as caught:
            dials()
        assert caught.value.hint == "localk8s start -c off"
    assert cluster.kubectl(["config", "view"]) == 0
