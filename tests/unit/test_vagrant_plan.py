"""Machines, addresses and ranges: nothing overlaps, numbers are used again, a plan survives the disk."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localk8s.drivers.cluster_ranges import ranges
from localk8s.drivers.vagrant.plan import ClusterPlan, choose_network, decode_plan, encode_plan, identify
from localk8s.model.errors import PrerequisiteError
from localk8s.model.status import NodeRole

ALLOWED_BY_VIRTUALBOX = IPv4Network("192.168.56.0/21")


def plan(**changes: object) -> ClusterPlan:
    """A cluster of three."""
    base = ClusterPlan("t", "abcdef", "lxc", choose_network((), "lxc"), (1,), (2, 3))
    return replace(base, **changes)  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 2**32 - 1).map(lambda n: IPv4Network((n, 24), strict=False)), max_size=8))
def test_ranges_avoid_the_hosts(taken: list[IPv4Network]) -> None:
    network = choose_network(taken, "virtualbox")
    assert network.nodes.subnet_of(ALLOWED_BY_VIRTUALBOX)
    chosen = ranges(network)
    assert not any(mine.overlaps(other) for mine in chosen for other in taken)
    assert not any(a.overlaps(b) for a in chosen for b in chosen if a is not b)


def test_many_clusters_fit_one_host_and_never_meet() -> None:
    taken: list[IPv4Network] = []
    for _ in range(8):
        network = choose_network(taken, "virtualbox")
        assert not any(mine.overlaps(other) for mine in ranges(network) for other in taken)
        taken += ranges(network)
    with pytest.raises(PrerequisiteError):
        choose_network(taken, "virtualbox")
    assert choose_network(taken, "lxc").nodes == IPv4Network("10.84.0.0/24")


def test_a_default_route_takes_nothing() -> None:
    assert choose_network([IPv4Network("0.0.0.0/0")], "lxc") == choose_network((), "lxc")


@given(st.integers(1, 40), st.sets(st.integers(2, 40), max_size=20))
def test_machines_never_share_anything(count: int, leaving: set[int]) -> None:
    grown = plan(workers=()).grown(count)
    for index in leaving & set(grown.indices):
        grown = grown.without(index)
    again = grown.grown(count)
    assert len(again.indices) == count == len(set(again.indices))
    for what in ("name", "address", "pods", "identifier", "hardware_address"):
        assert len({getattr(machine, what) for machine in again.machines}) == count
    for machine in again.machines:
        assert machine.address in again.network.nodes and machine.pods.subnet_of(again.network.pods)
        assert machine.address not in (again.gateway, again.network.nodes[5])


def test_the_lowest_free_number_is_used_again() -> None:
    assert plan().without(2).grown(3).workers == (2, 3)
    assert plan().without(2).grown(2).workers == (3,)


def test_a_plan_is_read_back() -> None:
    full = plan(
        control_planes=(1, 2, 3),
        workers=(5,),
        balanced=True,
        host_memory=5,
        cgroup_v1=True,
        box="k",
        addresses=((5, "10.0.0.1"),),
    )
    assert decode_plan(encode_plan(full)) == full
    assert str(full.machine(5).address) == "10.0.0.1"


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"name": 1}'])
def test_rubbish_is_no_plan(text: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        decode_plan(text)


def test_the_api_has_its_own_address_only_when_it_moves() -> None:
    assert plan().endpoint == plan().machine(1).address
    shared = plan(control_planes=(1, 2, 3), workers=(), balanced=True)
    assert shared.endpoint not in {machine.address for machine in shared.machines}
    assert [machine.role for machine in shared.machines] == [NodeRole.CONTROL_PLANE] * 3


def test_two_users_clusters_of_one_name_differ() -> None:
    assert identify("/a", "t") != identify("/b", "t")
    assert len(plan().bridge) <= 15
