"""Whether this host can run Vagrant clusters, what is missing, what was left behind. Looks, changes nothing."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from localk8s.drivers.base import DriverContext
from localk8s.drivers.host_fit import disk_findings
from localk8s.drivers.host_routes import has_uplink, links_called
from localk8s.drivers.vagrant.cluster import cluster_directory, identity
from localk8s.drivers.vagrant.options import Options, has_service, read_options
from localk8s.drivers.vagrant.plan import PREFIX
from localk8s.model.errors import Localk8sError, NotSupportedError, PrerequisiteError
from localk8s.model.hints import as_root, command, host_command, instead
from localk8s.model.quantities import GIB, MIB, format_size
from localk8s.model.spec import DEFAULT_NODE_SIZE, ClusterSpec
from localk8s.model.status import Finding, Severity
from localk8s.system.host import HostFacts

LEAST_CONTROL_PLANE_MEMORY = 1700 * MIB
PACKAGES = {
    "lxc": ("vagrant", "vagrant-lxc", "lxc", "mmdebstrap", "openssh-client", "iproute2", "iptables", "sudo", "procps"),
    "libvirt": ("vagrant", "vagrant-libvirt", "libvirt-daemon-system", "libvirt-clients", "qemu-system-x86", "qemu-utils",
                "mmdebstrap", "e2fsprogs", "openssh-client", "iproute2", "dnsmasq-base"),
}  # fmt: skip
"""Debian packages that each provider needs of its host."""
PROGRAMS = {
    "lxc": ("vagrant", "lxc-create", "mmdebstrap", "ssh", "ip", "iptables", "sudo"),
    "libvirt": ("vagrant", "virsh", "libvirtd", "qemu-img", "qemu-system-x86_64", "mmdebstrap", "mkfs.ext4", "ssh", "ip"),
}
_SBIN = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def find_program(name: str) -> str | None:
    """Where a program is, also where only root has it on PATH."""
    return shutil.which(name) or shutil.which(name, path=_SBIN)


def setup_commands(provider: str) -> tuple[tuple[str, ...], ...]:
    """Command lines that install what is missing for ``provider`` from Debian's packages."""
    missing = [program for program in PROGRAMS[provider] if not find_program(program)]
    if not missing:
        return ()
    return (("apt-get", "update"), ("apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES[provider]))


def check(spec: ClusterSpec, context: DriverContext) -> tuple[Finding, ...]:
    """Findings about Vagrant, the provider, privileges, memory, processors and disk."""
    facts = context.host.facts()
    setup = host_command("setup", "--driver", "vagrant")
    if not find_program("vagrant"):
        return (Finding(Severity.ERROR, "vagrant", "Vagrant is not installed on this host.", setup),)
    try:
        options = read_options(spec.options)
    except PrerequisiteError as exc:
        return (Finding(Severity.ERROR, "vagrant", exc.message, exc.hint),)
    except Localk8sError as exc:
        return (Finding(Severity.ERROR, "options", exc.message, exc.hint),)
    findings = [Finding(Severity.OK, "vagrant", "Vagrant is installed."), *_provider(options, facts, setup, spec.name)]
    findings += _pod_network(options, facts, context)
    if not cluster_directory(context, spec.name).exists():
        findings += _memory(spec, options, facts)
        findings += _disk(spec, options, facts)
    if spec.size.cpus is not None and spec.size.cpus > facts.cpus:
        message = f"{spec.size.cpus} CPUs for each machine are more than this host has ({facts.cpus})."
        findings.append(Finding(Severity.ERROR, "cpus", message, instead("--cpus", str(facts.cpus))))
    return tuple(findings)


def _provider(options: Options, facts: HostFacts, setup: str, cluster: str) -> list[Finding]:
    provider = options.provider
    if facts.platform not in provider.platforms:
        message = f"{provider.title} does not run on this platform ({facts.platform})."
        return [Finding(Severity.ERROR, "provider", message, instead("--driver", "minikube"))]
    needed = PROGRAMS.get(provider.name, (provider.program,)) if options.builds_box else (provider.program,)
    missing = [program for program in needed if not find_program(program)]
    if missing:
        message = f"{provider.title} needs programs that are not installed: {', '.join(missing)}."
        return [Finding(Severity.ERROR, "provider", message, setup)]
    if not has_service(provider):
        message = f"{provider.title} is installed, but its service does not run."
        return [Finding(Severity.ERROR, "provider", message, "sudo service libvirtd start")]
    found = [Finding(Severity.OK, "provider", f"{provider.title} is installed.")]
    if options.builds_box and not facts.root:
        message = f"Machines of {provider.title} are made from a box built here, which needs root."
        found.append(
            Finding(Severity.ERROR, "privileges", message, as_root(command("start", "--driver", "vagrant", cluster=cluster)))
        )
    stock = None if options.builds_box or options.box else provider.stock
    if stock is not None and facts.architecture not in stock.architectures:
        message = f"There is no stock box for {provider.title} on {facts.architecture}."
        found.append(Finding(Severity.ERROR, "box", message, instead("--driver-option", "box=NAME")))
    return found


def _pod_network(options: Options, facts: HostFacts, context: DriverContext) -> list[Finding]:
    """Images of other people's pod networks come from a registry, and there is no other way."""
    if not options.cni.foreign or facts.platform != "linux" or has_uplink(context.runner):
        return []
    message = f"The images of {options.cni.value} come from a registry, and this host has no network; bridge needs none."
    return [Finding(Severity.ERROR, "pod network", message, instead("--cni", "bridge"))]


def _memory(spec: ClusterSpec, options: Options, facts: HostFacts) -> list[Finding]:
    each = spec.size.memory
    if each is None:
        return []
    if each < LEAST_CONTROL_PLANE_MEMORY and options.provider.virtual_machines:
        message = f"{format_size(each)} of memory are too little for a machine with a control plane."
        return [Finding(Severity.ERROR, "memory", message, instead("--memory", "2g"))]
    if each < GIB:
        message = f"{format_size(each)} of memory are too little for a control plane."
        return [Finding(Severity.ERROR, "memory", message, instead("--memory", "1g"))]
    total = each * spec.nodes
    has = f"this host has ({format_size(facts.memory_total)}, {format_size(facts.memory_available)} free)"
    asked = f"{spec.nodes} x {format_size(each)} of memory"
    most = facts.memory_available if options.provider.virtual_machines else facts.memory_total
    if total > most:
        fits = max(1, facts.memory_available // spec.nodes // GIB)
        fix = instead("--memory", f"{fits}g")
        return [Finding(Severity.ERROR, "memory", f"{asked} are more than {has}.", fix)]
    if total > facts.memory_available:
        return [Finding(Severity.WARNING, "memory", f"{asked} are more than {has}; bounds are no reservations.")]
    return [Finding(Severity.OK, "memory", f"{asked}, {format_size(facts.memory_available)} free.")]


def _disk(spec: ClusterSpec, options: Options, facts: HostFacts) -> list[Finding]:
    least = 4 * GIB
    if facts.disk_free < least:
        message = (
            f"Only {format_size(facts.disk_free)} of disk are free where machines are kept; {format_size(least)} are needed."
        )
        return [Finding(Severity.ERROR, "disk", message)]
    if options.provider.bounds_disk:
        return list(disk_findings(spec, facts))
    try:
        refuse_disk(spec, options)
    except NotSupportedError as exc:
        return [Finding(Severity.ERROR, "disk", exc.message, exc.hint)]
    if spec.size.disk not in (None, DEFAULT_NODE_SIZE.disk):
        message = f"{options.provider.title} cannot bound a machine's disk: the configured diskSize has no effect."
        return [Finding(Severity.WARNING, "disk", message)]
    return []


def refuse_disk(spec: ClusterSpec, options: Options) -> None:
    """Refuse a disk size that was asked for where machines share the disk of this host.

    Raises:
        NotSupportedError: with the provider's name.
    """
    if spec.size.disk is not None and "disk-size" in spec.typed and not options.provider.bounds_disk:
        asked = f"--disk-size {format_size(spec.size.disk)}"
        raise NotSupportedError(
            f"{options.provider.title} cannot bound a machine's disk: {asked} is not possible.",
            hint=command("start", "--driver", "vagrant", "--provider", options.provider.name, cluster=spec.name),
        )


def leftovers(known: Sequence[str], context: DriverContext) -> tuple[Finding, ...]:
    """Directories and bridges of clusters of this user that have no record."""
    found = []
    own = {}
    for directory in sorted((context.directory / "clusters").glob("*/")):
        own[f"{PREFIX}-{identity(context, directory.name)}"] = directory.name
        if directory.name not in known:
            message = f'Leftovers of cluster "{directory.name}" ({directory}).'
            found.append(Finding(Severity.WARNING, "leftovers", message, command("delete", cluster=directory.name)))
    mine = {f"{PREFIX}-{identity(context, name)}" for name in known}
    for bridge in links_called(context.runner, f"{PREFIX}-"):
        if bridge not in own and bridge not in mine:
            message = f"Bridge {bridge} belongs to no cluster that is known here."
            found.append(Finding(Severity.WARNING, "leftovers", message, f"ip link delete {bridge}"))
    return tuple(found)
