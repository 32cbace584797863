"""The machines of a cluster one by one, as methods of ``Cluster``: added, deleted, switched off and on.

Owns the order of record and driver, so that what a killed run left is finished by the next ``start``. Prints nothing.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from localk8s.cluster import recipe
from localk8s.cluster.leaving import finish_leaving, supports_nodes
from localk8s.cluster.plan import refuse_dead_changes
from localk8s.cluster.wish import with_unclaimed
from localk8s.drivers.base import Driver, Feature, SupportsNodes, SupportsNodeStop
from localk8s.model.errors import NotFoundError, NotSupportedError, PrerequisiteError, UsageError, WrongStateError
from localk8s.model.hints import command
from localk8s.model.status import ClusterState, ClusterStatus, NodeRole, NodeState, NodeStatus
from localk8s.store.records import Record, Records

if TYPE_CHECKING:
    from localk8s.model.progress import Reporter
    from localk8s.wiring import Installation

_CAN_GROW = (ClusterState.RUNNING, ClusterState.STARTING, ClusterState.BROKEN)


class Members:
    """Part of ``Cluster``; see there."""

    name: str
    _report: Reporter
    _installation: Installation
    if TYPE_CHECKING:

        def status(self) -> ClusterStatus: ...  # noqa: D102
        def bring_up_to_date(self) -> None: ...  # noqa: D102
        def forget_docker(self, node: str) -> None: ...  # noqa: D102

    def add_node(self) -> tuple[NodeStatus, ...]:
        """Add one worker while the others run; returns what is new.

        ::

            (node,) = cluster.add_node()
            print(node.name, node.address)

        Raises:
            NotFoundError: there is no such cluster.
            WrongStateError: it does not run, or another process works on it.
            NotSupportedError: this driver cannot.
        """
        with self._changing("node add", "start") as (records, driver, report):
            record = records.load(self.name)
            able = supports_nodes(driver, Feature.NODE_ADD, "add")
            before = {node.name for node in _ready_to_grow(driver.inspect(record.spec), record).nodes}
            _add(records, record, able, driver, report)
        self.bring_up_to_date()
        return tuple(node for node in self.status().nodes if node.name not in before)

    def delete_node(self, node: str) -> None:
        """Drain a node and remove it with its machine and data. One that is off or dead goes too.

        Args:
            node: its name.

        Raises:
            NotFoundError: there is no such cluster or node.
            UsageError: it is the only control plane.
            WrongStateError: no control plane runs that could let it go.
            NotSupportedError: this driver cannot.
        """
        with self._changing("node delete", "start") as (records, driver, report):
            before = records.load(self.name)
            supports_nodes(driver, Feature.NODE_DELETE, "delete")
            record = replace(before, leaving=node)
            if record != before:
                _may_leave(driver.inspect(record.spec), node)
                records.save(record)
            try:
                finish_leaving(records, record, driver, report)
            except WrongStateError:
                records.save(before)
                raise
            docker = self._installation.layout.docker(self.name, node)
            had_docker = docker.is_dir()
            shutil.rmtree(docker, ignore_errors=True)
        if had_docker:
            self.forget_docker(node)

    def check_node_may_leave(self, node: str) -> None:
        """Raise what ``delete_node`` would refuse with, before anybody is asked; changes nothing."""
        record = self._installation.records.load(self.name)
        driver = recipe.driver_of(self._installation, record.spec.driver, self.name)
        supports_nodes(driver, Feature.NODE_DELETE, "delete")
        if record.leaving != node:
            _may_leave(driver.inspect(record.spec), node)

    def stop_node(self, node: str) -> None:
        """Switch one machine off and keep its data. Stopping what is stopped succeeds.

        Raises:
            NotFoundError: there is no such cluster or node.
            NotSupportedError: this driver cannot.
        """
        with self._changing("node stop", "") as (records, driver, report):
            spec = records.load(self.name).spec
            able = _supports_stop(driver, self.name)
            _known(driver.inspect(spec), node)
            able.stop_node(spec, node, report)

    def start_node(self, node: str) -> None:
        """Switch one machine on, with the address and data that it had, until it is Ready. Errors as for ``stop_node``."""
        with self._changing("node start", "start") as (records, driver, report):
            spec = records.load(self.name).spec
            able = _supports_stop(driver, self.name)
            status = driver.inspect(spec)
            _known(status, node)
            if status.state in (ClusterState.STOPPED, ClusterState.INCOMPLETE):
                raise WrongStateError(f'Cluster "{self.name}" is {status.state}.', hint=command("start", cluster=self.name))
            able.start_node(spec, node, report)
        self.bring_up_to_date()

    @contextlib.contextmanager
    def _changing(self, verb: str, goes_on: str) -> Iterator[tuple[Records, Driver, Reporter]]:
        """Hold the cluster's lock for a change of its machines.

        Args:
            verb: what is done, for the log.
            goes_on: the command that finishes what is interrupted; empty when it has to be typed again.
        """
        watched, records = recipe.Watched(self._report), self._installation.records
        with (
            recipe.clear_errors(),
            recipe.interruptible(watched, self.name, goes_on),
            recipe.held(self._installation, self.name, watched),
        ):
            name = records.load(self.name).spec.driver
            recipe.begin_log(self._installation, self.name, verb)
            try:
                yield records, recipe.driver_of(self._installation, name, self.name), watched
            finally:
                self.__dict__.pop("_record", None)


def _add(records: Records, record: Record, able: SupportsNodes, driver: Driver, report: Reporter) -> None:
    """Record the cluster with one node more, then add it. What refused to begin is not recorded."""
    old = record.spec
    wanted = driver.complete(replace(old, nodes=old.nodes + 1))
    refuse_dead_changes(old, wanted, with_unclaimed(driver.changes(old, wanted), old, wanted))
    records.save(replace(record, spec=wanted))
    try:
        grown = able.add_node(old, report)
    except (UsageError, NotSupportedError, PrerequisiteError):
        records.save(record)
        raise
    records.save(replace(record, spec=grown))


def _ready_to_grow(status: ClusterStatus, record: Record) -> ClusterStatus:
    """``status``, if it is that of a cluster that can take one more node.

    Raises:
        WrongStateError: it is not; the hint mends that.
    """
    name = record.spec.name
    unfinished = len(status.nodes) < record.spec.nodes or bool(record.leaving) or record.deleting or not record.created
    if unfinished:
        raise WrongStateError(f'An earlier change of cluster "{name}" is not finished.', hint=command("start", cluster=name))
    control_plane = any(node.role is NodeRole.CONTROL_PLANE and node.state is NodeState.READY for node in status.nodes)
    if status.state not in _CAN_GROW or not control_plane:
        raise WrongStateError(
            f'Cluster "{name}" is {status.state}: no node can be added now.', hint=command("start", cluster=name)
        )
    return status


def _known(status: ClusterStatus, node: str) -> NodeStatus:
    found = next((each for each in status.nodes if each.name == node), None)
    if found is None:
        known = ", ".join(each.name for each in status.nodes) or "none"
        raise NotFoundError(
            f'Cluster "{status.name}" has no node {node!r}: there are {known}.', hint=command("node list", cluster=status.name)
        )
    return found


def _may_leave(status: ClusterStatus, node: str) -> None:
    """Refuse to delete what is not there, and the only control plane."""
    found = _known(status, node)
    planes = [each for each in status.nodes if each.role is NodeRole.CONTROL_PLANE]
    if found.role is NodeRole.CONTROL_PLANE and len(planes) == 1:
        raise UsageError(
            f"{node} is the only control plane: without it there is no cluster.", hint=command("delete", cluster=status.name)
        )


def _supports_stop(driver: Driver, cluster: str) -> SupportsNodeStop:
    if Feature.NODE_STOP not in driver.info.features or not isinstance(driver, SupportsNodeStop):
        raise NotSupportedError(
            f"The {driver.info.name} driver cannot switch single nodes off and on.", hint=command("stop", cluster=cluster)
        )
    return driver
