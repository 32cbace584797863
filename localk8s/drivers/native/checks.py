"""Whether this host can run native clusters, what is missing, what was left behind. Looks, changes nothing."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from localk8s.drivers.base import DriverContext
from localk8s.drivers.host_fit import disk_findings
from localk8s.drivers.host_routes import links_called
from localk8s.drivers.native import host_checks
from localk8s.drivers.native.cluster import find_hierarchies, offered_by
from localk8s.drivers.native.plan import LINK_PREFIX, identify
from localk8s.model.errors import Localk8sError
from localk8s.model.hints import as_root, command, host_command, instead
from localk8s.model.quantities import GIB, format_size
from localk8s.model.spec import ClusterSpec
from localk8s.model.status import Finding, Severity
from localk8s.system.cgroups import Hierarchy

PACKAGES = {
    "ip": "iproute2",
    "nsenter": "util-linux",
    "pivot_root": "util-linux",
    "setsid": "util-linux",
    "unshare": "util-linux",
    "mount": "mount",
}
"""Programs of the host that a native cluster needs, and the Debian package of each; the nodes' root brings all others."""

LEAST_CONTROL_PLANE_MEMORY = 1 * GIB
_FAILING_MINOR = 35


def missing_tools() -> tuple[str, ...]:
    """Programs that are not on PATH, sorted."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return tuple(sorted(tool for tool in PACKAGES if not (shutil.which(tool) or shutil.which(tool, path=path))))


def setup_commands() -> tuple[tuple[str, ...], ...]:
    """Command lines that install what is missing."""
    packages = sorted({PACKAGES[tool] for tool in missing_tools()})
    if not packages:
        return ()
    return (("apt-get", "update"), ("apt-get", "install", "--yes", "--no-install-recommends", *packages))


def check(spec: ClusterSpec, context: DriverContext) -> tuple[Finding, ...]:
    """Findings about platform, privileges, tools, control groups, memory, disk and addresses."""
    facts = context.host.facts()
    if facts.platform != "linux":
        return (Finding(Severity.ERROR, "native", "The native driver needs Linux.", instead("--driver", "minikube")),)
    findings = [_privilege(facts.root, spec.name), _tools(), _groups(find_hierarchies(), spec)]
    findings += host_checks.look(context.runner)
    findings += _memory(spec, facts.memory_total, facts.memory_available)
    if spec.size.cpus is not None and spec.size.cpus > facts.cpus:
        message = f"{spec.size.cpus} CPUs for each node are more than this host has ({facts.cpus})."
        findings.append(Finding(Severity.ERROR, "cpus", message, instead("--cpus", str(facts.cpus))))
    if facts.disk_free < 2 * GIB:
        message = f"Only {format_size(facts.disk_free)} of disk are free where clusters are kept."
        findings.append(Finding(Severity.ERROR, "disk", message))
    return (*findings, *disk_findings(spec, facts))


def _privilege(root: bool, cluster: str) -> Finding:
    if root:
        return Finding(Severity.OK, "privileges", "This is root.")
    message = "The native driver makes namespaces, mounts and links: it needs root."
    return Finding(Severity.ERROR, "privileges", message, as_root(command("start", cluster=cluster)))


def _tools() -> Finding:
    missing = missing_tools()
    if not missing:
        return Finding(Severity.OK, "tools", "Every program that a native cluster needs of this host is there.")
    return Finding(
        Severity.ERROR, "tools", f"Not installed: {', '.join(missing)}.", host_command("setup", "--driver", "native")
    )


def _groups(hierarchies: tuple[Hierarchy, ...], spec: ClusterSpec) -> Finding:
    first = {controller for hierarchy in hierarchies if hierarchy.version == 1 for controller in hierarchy.controllers}
    if not hierarchies:
        return Finding(Severity.ERROR, "cgroups", "No control group hierarchy is mounted at /sys/fs/cgroup.")
    if unbounded := _unbounded(hierarchies, spec):
        message = f"No control group here has the controller {' or '.join(unbounded)}: a node's size cannot be bounded."
        return Finding(Severity.ERROR, "cgroups", message)
    if not first & {"memory", "cpu"}:
        return Finding(Severity.OK, "cgroups", "Control groups, version 2.")
    lacking = {"cpu", "memory", "pids", "cpuset", "devices", "freezer"} - first
    if lacking:
        message = f"Control groups, version 1, without: {', '.join(sorted(lacking))}."
        return Finding(Severity.WARNING, "cgroups", message)
    note = f" (a kubelet from 1.{_FAILING_MINOR} on needs failCgroupV1; set for you)"
    return Finding(Severity.OK, "cgroups", f"Control groups, version 1{note}.")


def _unbounded(hierarchies: tuple[Hierarchy, ...], spec: ClusterSpec) -> list[str]:
    """Controllers that the bounds of ``spec`` take and that no hierarchy offers."""
    offered = {controller for hierarchy in hierarchies for controller in (*hierarchy.controllers, *offered_by(hierarchy))}
    wanted = {"cpu": spec.size.cpus, "memory": spec.size.memory}
    return sorted(name for name, bound in wanted.items() if bound is not None and name not in offered)


def _memory(spec: ClusterSpec, total: int, available: int) -> list[Finding]:
    asked = spec.size.memory
    if asked is None:
        return []
    has = f"this host has ({format_size(total)}, {format_size(available)} free)"
    if asked < LEAST_CONTROL_PLANE_MEMORY:
        message = f"{format_size(asked)} of memory are too little for a control plane."
        return [Finding(Severity.ERROR, "memory", message, instead("--memory", "1g"))]
    if asked > total:
        nodes = f"each of {spec.nodes} node{'s' if spec.nodes > 1 else ''}"
        message = f"{format_size(asked)} of memory for {nodes} is more than {has}."
        return [Finding(Severity.ERROR, "memory", message, instead("--memory", f"{max(1, available // GIB // 2)}g"))]
    if asked * spec.nodes > available:
        message = f"{spec.nodes} x {format_size(asked)} of memory are more than {has}; bounds are no reservations."
        return [Finding(Severity.WARNING, "memory", message)]
    return [Finding(Severity.OK, "memory", f"{format_size(available)} of memory free.")]


def leftovers(known: Sequence[str], context: DriverContext) -> tuple[Finding, ...]:
    """Directories and control groups of clusters of this user that have no record."""
    found = []
    for directory in sorted(context.directory.glob("*/")):
        if directory.name not in known:
            message = f'Leftovers of cluster "{directory.name}" ({directory}).'
            found.append(Finding(Severity.WARNING, "leftovers", message, command("delete", cluster=directory.name)))
    try:
        bridges = links_called(context.runner, f"{LINK_PREFIX}-")
    except Localk8sError:
        bridges = ()
    ours = {_identity(directory.name, context) for directory in context.directory.glob("*/")}
    ours |= {_identity(name, context) for name in known}
    for bridge in bridges:
        if bridge.removeprefix(f"{LINK_PREFIX}-") not in ours:
            message = f"Bridge {bridge} belongs to no cluster of this user."
            found.append(Finding(Severity.WARNING, "leftovers", message, f"ip link delete {bridge}"))
    return tuple(found)


def _identity(name: str, context: DriverContext) -> str:
    return identify(str(context.directory.resolve()), name)
