"""A node on its way out: remembered in the record before anything is done, so that a killed delete is finished.

Must not hold the cluster's lock itself; whoever calls does.
"""

from __future__ import annotations

from dataclasses import replace

from localk8s.drivers.base import Driver, Feature, SupportsNodes
from localk8s.model.errors import NotFoundError, NotSupportedError, UsageError, WrongStateError
from localk8s.model.hints import command
from localk8s.model.progress import Reporter
from localk8s.model.spec import ClusterSpec
from localk8s.model.status import NodeRole
from localk8s.store.records import Record, Records


def supports_nodes(driver: Driver, feature: Feature, verb: str) -> SupportsNodes:
    """``driver`` as one whose nodes can be changed singly.

    Args:
        driver: of the cluster.
        feature: what it must have.
        verb: what was asked for, for the message.

    Raises:
        NotSupportedError: it has no such power.
    """
    if feature not in driver.info.features or not isinstance(driver, SupportsNodes):
        raise NotSupportedError(
            f"The {driver.info.name} driver cannot {verb} single nodes.",
            hint=command("start", "--nodes", "3", cluster="another"),
        )
    return driver


def finish_leaving(records: Records, record: Record, driver: Driver, report: Reporter) -> Record:
    """Delete the node that the record says is leaving, and record the cluster without it. None leaving: no effect.

    Raises:
        WrongStateError: the cluster does not run, so that no node can leave it.
        Localk8sError: it failed half-way; calling again goes on.
    """
    if not record.leaving:
        return record
    try:
        spec = supports_nodes(driver, Feature.NODE_DELETE, "delete").delete_node(record.spec, record.leaving, report)
    except NotFoundError:
        spec = _as_it_is(record.spec, driver)  # killed after the driver had forgotten the node
    except (UsageError, NotSupportedError):
        records.save(replace(record, leaving=""))
        raise
    gone = replace(record, spec=spec, leaving="")
    records.save(gone)
    return gone


def try_to_finish_leaving(records: Records, name: str, driver: Driver, report: Reporter) -> bool:
    """As ``finish_leaving`` on what is recorded; returns whether it has to wait until the cluster runs."""
    try:
        finish_leaving(records, records.load(name), driver, report)
    except WrongStateError:
        return True
    return False


def _as_it_is(spec: ClusterSpec, driver: Driver) -> ClusterSpec:
    nodes = driver.inspect(spec).nodes
    planes = sum(node.role is NodeRole.CONTROL_PLANE for node in nodes)
    return replace(spec, nodes=len(nodes), control_planes=planes) if planes else spec
