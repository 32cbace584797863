"""Whether this host can run a cluster by minikube: findings for ``doctor`` and before a start.

Looks only: changes nothing and raises nothing.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from localk8s.drivers.minikube import cache
from localk8s.drivers.minikube.choice import Chooser, node_size, remote_target
from localk8s.drivers.minikube.options import Options
from localk8s.drivers.minikube.profile import Home
from localk8s.drivers.minikube.tool import Minikube
from localk8s.drivers.minikube.vm_drivers import Kind, VmDriver, refuse_nodes
from localk8s.model import hints
from localk8s.model.errors import Localk8sError, NotSupportedError, UsageError
from localk8s.model.quantities import MIB, format_size
from localk8s.model.spec import ClusterSpec
from localk8s.model.status import Finding, Severity
from localk8s.system.host import HostFacts

_LEAST_MEMORY = 1800 * MIB
"""minikube refuses less."""
_LEAST_CPUS = 2
_NONE_PROGRAMS = ("conntrack", "crictl", "iptables")
"""What minikube and kubeadm need on a host that is the node."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the checks look at."""

    tool: Minikube
    chooser: Chooser
    home: Home
    environment: Mapping[str, str]
    facts: HostFacts
    offline: bool


def look(spec: ClusterSpec, options: Options, around: Surroundings) -> tuple[Finding, ...]:
    """All findings for ``spec``."""
    try:
        version = around.tool.version
    except Localk8sError as exc:
        return (Finding(Severity.ERROR, "minikube", exc.message, exc.hint),)
    found = [Finding(Severity.OK, "minikube", f"minikube {version} ({around.tool.program}).")]
    try:
        driver = around.chooser.driver(options)
        refuse_nodes(driver, spec.nodes, spec.control_planes, spec.name)
        node_size(spec, driver)
    except (UsageError, NotSupportedError):
        return tuple(found)  # no fault of this host: completing the spec refuses it
    except Localk8sError as exc:
        return (*found, Finding(Severity.ERROR, "vm-driver", exc.message, exc.hint))
    found += _driver_findings(spec.name, driver, options, around)
    found += _size_findings(spec, driver, around.facts)
    found += _cache_findings(spec, options, driver, around)
    return tuple(found)


def has_default_route(table: Path = Path("/proc/net/route")) -> bool:
    """Whether packets could leave this host at all; True where that cannot be seen. Sends nothing."""
    try:
        lines = table.read_text(encoding="ascii").splitlines()[1:]
    except (OSError, UnicodeDecodeError):
        return True
    return any(line.split()[1:2] == ["00000000"] for line in lines)


def _start(cluster: str, *arguments: str) -> str:
    return hints.command("start", "--driver", "minikube", *arguments, cluster=cluster)


def _driver_findings(cluster: str, driver: VmDriver, options: Options, around: Surroundings) -> Iterator[Finding]:
    if around.facts.platform not in driver.platforms:
        message = f"minikube's {driver.name} driver does not exist on {around.facts.platform}."
        yield Finding(Severity.ERROR, "vm-driver", message, _start(cluster, "--vm-driver", "docker"))
    elif driver.kind is Kind.CONTAINER:
        yield _engine_finding(driver, around)
    elif driver.kind is Kind.NONE:
        yield from _none_findings(cluster, around)
    elif driver.kind is Kind.SSH:
        yield _ssh_finding(cluster, options)
    elif driver.program and shutil.which(driver.program, path=around.environment.get("PATH")) is None:
        yield Finding(Severity.ERROR, "vm-driver", f"{driver.program} is not on this host: the {driver.name} driver needs it.")
    else:
        yield Finding(Severity.OK, "vm-driver", f"minikube's {driver.name} driver.")


def _engine_finding(driver: VmDriver, around: Surroundings) -> Finding:
    if around.chooser.engine_answers(driver.name):
        return Finding(Severity.OK, "vm-driver", f"{driver.name} answers.")
    if shutil.which(driver.program, path=around.environment.get("PATH")) is None:
        return Finding(Severity.ERROR, "vm-driver", f"{driver.name} is not installed on this host.")
    return Finding(Severity.ERROR, "vm-driver", f"The {driver.name} service does not answer: it does not run, or refuses you.")


def _none_findings(cluster: str, around: Surroundings) -> Iterator[Finding]:
    if not around.facts.root:
        again = f"sudo {_start(cluster, '--vm-driver', 'none')}"
        yield Finding(Severity.ERROR, "vm-driver", "minikube's none driver needs root.", again)
    path = around.environment.get("PATH")
    lacking = [name for name in _NONE_PROGRAMS if shutil.which(name, path=path) is None]
    if lacking:
        message = f"The none driver needs programs that are not on this host: {', '.join(lacking)}."
        yield Finding(Severity.WARNING, "vm-driver", message)
    else:
        yield Finding(Severity.OK, "vm-driver", "This host itself becomes the node.")


def _ssh_finding(cluster: str, options: Options) -> Finding:
    try:
        target = remote_target(options, cluster)
        with socket.create_connection((target.host, target.port), timeout=3.0):
            pass
    except Localk8sError as exc:
        return Finding(Severity.ERROR, "vm-driver", exc.message, exc.hint)
    except OSError as exc:
        where = f"{options.ssh_address}:{options.ssh_port or 22}"
        return Finding(Severity.ERROR, "vm-driver", f"No machine answers at {where}: {exc.strerror or exc}.")
    if target.key is not None and not target.key.is_file():
        return Finding(Severity.ERROR, "vm-driver", f"The ssh key {target.key} is not there.")
    return Finding(Severity.OK, "vm-driver", f"The machine {target.host} answers.")


def _size_findings(spec: ClusterSpec, driver: VmDriver, facts: HostFacts) -> Iterator[Finding]:
    if not driver.bounds_size:
        if facts.cpus < _LEAST_CPUS and driver.kind is Kind.NONE:
            yield Finding(Severity.WARNING, "cpus", f"minikube wants {_LEAST_CPUS} processors; this host has {facts.cpus}.")
        return
    memory, cpus = spec.size.memory, spec.size.cpus
    if memory is not None and memory < _LEAST_MEMORY:
        message = f"minikube needs at least {format_size(_LEAST_MEMORY)} for a node, asked for {format_size(memory)}."
        yield Finding(Severity.ERROR, "memory", message, _start(spec.name, "--memory", "2g"))
    elif memory is not None and memory * spec.nodes > facts.memory_total:
        message = (
            f"{format_size(memory)} of memory for each of {spec.nodes} node{'s' if spec.nodes != 1 else ''} is more than "
            f"this host has ({format_size(facts.memory_total)})."
        )
        yield Finding(Severity.ERROR, "memory", message, _start(spec.name, "--memory", "2g"))
    if cpus is not None and cpus > facts.cpus:
        message = f"{cpus} processors are more than this host has ({facts.cpus})."
        most = max(_LEAST_CPUS, facts.cpus)
        yield Finding(Severity.ERROR, "cpus", message, _start(spec.name, "--cpus", str(most)))


def _cache_findings(spec: ClusterSpec, options: Options, driver: VmDriver, around: Surroundings) -> Iterator[Finding]:
    """What a start would have to fetch, where nothing may be fetched."""
    if options.mirrored and driver.preloads:
        message = "A mirror of images switches minikube's preloads off: each image is fetched by itself, which takes longer."
        yield Finding(Severity.WARNING, "mirror", message)
    offline = around.offline or options.offline
    if (offline or spec.artifacts is not None) and options.addons is None:
        message = "Without a network minikube's addons are left out, its storage class among them."
        yield Finding(Severity.WARNING, "addons", message, _start(spec.name, "--driver-option", "addons=true"))
    if not offline or spec.artifacts is not None or spec.kubernetes_version is None:
        return
    runtime = options.runtime or "docker"
    wanted = cache.Wanted(spec.kubernetes_version, runtime, driver, around.facts.architecture)
    on_host = cache.on_this_host(spec.kubernetes_version) if driver.kind is Kind.NONE else False
    if not on_host and (lacking := cache.missing([around.home.cache], wanted)):
        have = ", ".join(cache.cached_versions(around.home, around.facts.architecture))
        more = f" It has the programs of {have}." if have else ""
        message = f"Without a network minikube would lack {', '.join(lacking)} in {around.home.cache}.{more}"
        yield Finding(Severity.WARNING, "cache", message, _start(spec.name, "--artifacts", "DIRECTORY"))
    else:
        yield Finding(Severity.OK, "cache", f"minikube's cache has all of Kubernetes {spec.kubernetes_version}.")
