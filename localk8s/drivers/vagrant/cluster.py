"""One Vagrant cluster on this host: its directory, its client of Vagrant, its nodes and parameters. Makes nothing by itself.

The only module of this driver that knows file names.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from localk8s.drivers.base import DriverContext
from localk8s.drivers.host_routes import has_uplink
from localk8s.drivers.vagrant import host_network
from localk8s.drivers.vagrant.box import BoxBuilder, BuiltBox, link_tree
from localk8s.drivers.vagrant.client import VagrantClient
from localk8s.drivers.vagrant.machine_readable import HostEntry, parse_ssh_config
from localk8s.drivers.vagrant.node import SshNode, socket_directory
from localk8s.drivers.vagrant.options import Options, read_options
from localk8s.drivers.vagrant.plan import ClusterPlan, Machine, decode_plan, encode_plan, identify
from localk8s.drivers.vagrant.pod_network import read_manifest
from localk8s.drivers.vagrant.providers import Provider, find_provider
from localk8s.drivers.vagrant.vagrantfile import Box, HostTraits, render_vagrantfile
from localk8s.kubeadm.parameters import KubeadmParameters, Reservation
from localk8s.model.errors import NotFoundError, WrongStateError
from localk8s.model.hints import command, host_command
from localk8s.model.quantities import MIB
from localk8s.model.spec import ClusterSpec
from localk8s.system.files import write_atomic

_EMULATED_LIMIT = 900
_EMULATED_SLOWNESS = 8.0
_LIMIT = 240


class VagrantCluster:
    """One cluster of machines.

    Args:
        context: what the driver was handed.
        spec: the cluster.
        plan: its machines and addresses.
    """

    def __init__(self, context: DriverContext, spec: ClusterSpec, plan: ClusterPlan) -> None:
        self.context = context
        self.spec = spec
        self.plan = plan

    def without(self, names: Sequence[str]) -> VagrantCluster:
        """The cluster as it is without some machines, for as long as they are not there; its plan must not be saved."""
        plan = self.plan
        for machine in self.plan.machines:
            plan = plan.without(machine.index) if machine.name in names else plan
        return VagrantCluster(self.context, self.spec, plan)

    @property
    def directory(self) -> Path:
        """Everything of this cluster."""
        return cluster_directory(self.context, self.spec.name)

    @property
    def provider(self) -> Provider:
        """How machines are made."""
        return find_provider(self.plan.provider)

    @cached_property
    def options(self) -> Options:
        """The driver's own options."""
        return read_options({**self.spec.options, "provider": self.plan.provider})

    @cached_property
    def traits(self) -> HostTraits:
        """What the Vagrantfile must know of the host."""
        facts = self.context.host.facts()
        kvm = os.access("/dev/kvm", os.R_OK | os.W_OK) and not self.options.emulate
        uplink = facts.platform != "linux" or has_uplink(self.context.runner)
        return HostTraits(
            cgroup_v1=self.plan.cgroup_v1, root=facts.root, architecture=facts.architecture,
            kvm=kvm if self.provider.name == "libvirt" else True, uplink=uplink,
        )  # fmt: skip

    @property
    def slowness(self) -> float:
        """By how much every limit is stretched; more than 1 where processors are emulated."""
        return 1.0 if self.traits.kvm else _EMULATED_SLOWNESS

    @property
    def parameters(self) -> KubeadmParameters:
        """What kubeadm is told."""
        version = self.spec.kubernetes_version
        if version is None:
            raise WrongStateError(
                f'Cluster "{self.spec.name}" has no Kubernetes version yet.', hint=command("start", cluster=self.spec.name)
            )
        machines = self.provider.virtual_machines
        names = {"127.0.0.1", "localhost", str(self.plan.endpoint)}
        names |= {str(self.plan.machine(index).address) for index in self.plan.control_planes}
        return KubeadmParameters(
            cluster=self.spec.name,
            version=version,
            network=self.plan.network,
            endpoint=self.plan.endpoint_text,
            cgroup_driver="systemd" if machines else "cgroupfs",
            cgroup_v1=self.plan.cgroup_v1 and not machines,
            reservation=Reservation() if machines else reservation(self.plan, self.spec),
            certificate_names=tuple(sorted(names)),
            several_control_planes=self.plan.balanced,
            ignore_preflight=("SystemVerification", "Swap", "Mem", "NumCPU"),
            control_plane_timeout=_LIMIT if self.traits.kvm else _EMULATED_LIMIT,
            slow=not self.traits.kvm,
        )

    @property
    def built_box(self) -> BuiltBox | None:
        """The box built here from which the machines are made."""
        return BuiltBox(self.plan.provider, self.plan.box, self.directory / "box") if self.plan.box else None

    def adopt(self, box: BuiltBox) -> None:
        """Take ``box`` for all machines of the cluster from now on, by links: the cache it is in may vanish."""
        own = self.directory / "box"
        if not (own / "complete").exists():
            link_tree(box.directory, own, self.context.runner)
        self.save_plan(replace(self.plan, box=box.key))

    @property
    def box(self) -> Box:
        """The box, as the Vagrantfile names it."""
        built = self.built_box
        if built is not None:
            kernel, initrd = str(built.directory / "vmlinuz"), str(built.directory / "initrd")
            return Box(built.name, own=True, kernel=kernel, initrd=initrd)
        if self.options.box:
            return Box(self.options.box, self.options.box_version)
        stock = self.provider.stock
        if stock is None:
            raise WrongStateError("The cluster has no box yet.", hint=command("start", cluster=self.spec.name))
        return Box(stock.name, stock.version)

    @cached_property
    def client(self) -> VagrantClient:
        """Vagrant for this cluster."""
        environment = dict(self.provider.environment)
        if self.plan.box:
            environment["VAGRANT_HOME"] = str(self.directory / "home")
        limit = 600.0 if self.provider.name == "lxc" else 3600.0
        runner = self.context.runner
        if self.provider.name == "lxc":
            runner = runner.with_prefix(host_network.own_sysfs(runner, self.plan))
        return VagrantClient(self.directory, runner, environment, boot_limit=limit)

    def render(self) -> str:
        """The Vagrantfile."""
        return render_vagrantfile(self.plan, self.provider, self.spec.size, self.box, self.traits)

    def write_vagrantfile(self) -> None:
        """Write the Vagrantfile, and let Vagrant find the box that was built here without a copy of it."""
        write_atomic(self.directory / "Vagrantfile", self.render(), mode=0o644)
        built = self.built_box
        if built is None:
            return
        home = self.directory / "home"
        place = home / "boxes" / built.name / "0"
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        link = place / self.plan.provider
        if not link.is_symlink() or link.readlink() != built.directory:
            link.unlink(missing_ok=True)
            link.symlink_to(built.directory)
        self._share_plugins(home)

    def _share_plugins(self, home: Path) -> None:
        """Plugins that the user installed into their own Vagrant home work in this one too."""
        given = self.context.environment.get("VAGRANT_HOME")
        users = Path(given).expanduser() if given else Path.home() / ".vagrant.d"
        for name in ("gems", "plugins.json"):
            if (users / name).exists() and not (home / name).exists():
                (home / name).symlink_to(users / name)

    def save_plan(self, plan: ClusterPlan) -> None:
        """Take ``plan`` for the cluster's plan from now on."""
        write_atomic(self.directory / "plan.json", encode_plan(plan))
        self.plan = plan

    def exists(self, machine: Machine) -> bool:
        """Whether Vagrant has made the machine (it may have been destroyed behind its back)."""
        return (self.directory / ".vagrant/machines" / machine.name / self.plan.provider / "id").exists()

    def node(self, machine: Machine) -> SshNode:
        """The machine as a node.

        Raises:
            NotFoundError: it was never booted.
        """
        entry = self.entries().get(machine.name)
        if entry is None:
            raise NotFoundError(f"Node {machine.name} was never booted.", hint=command("start", cluster=self.spec.name))
        return SshNode(
            machine.name,
            machine.role,
            str(machine.address),
            entry,
            self.context.runner,
            socket_directory(self.plan.identity),
            slowness=self.slowness,
            hint=command("start", cluster=self.spec.name),
        )

    @property
    def nodes(self) -> tuple[SshNode, ...]:
        """All machines as nodes."""
        return tuple(self.node(machine) for machine in self.plan.machines)

    def entries(self) -> Mapping[str, HostEntry]:
        """How machines are reached: known beforehand for boxes built here, otherwise as Vagrant said after the last boot."""
        built = self.built_box
        if built is None:
            return parse_ssh_config(self._read("ssh-config"))
        key = str(built.directory / "key")
        return {
            machine.name: HostEntry(
                machine.name,
                (("HostName", str(machine.address)), ("User", "vagrant"), ("Port", "22"), ("IdentityFile", key)),
            )
            for machine in self.plan.machines
        }

    def remember_hosts(self, hosts: Mapping[str, HostEntry]) -> None:
        """Keep how machines are reached, as Vagrant says."""
        lines = []
        for name, entry in hosts.items():
            lines += [f"Host {name}", *(f'  {option} "{value}"' for option, value in entry.options)]
        write_atomic(self.directory / "ssh-config", "\n".join(lines) + "\n")

    def _read(self, name: str) -> str:
        try:
            return (self.directory / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    @property
    def kubeconfig(self) -> str:
        """The administrator's kubeconfig; empty while there is none."""
        return self._read("admin.conf")

    def pod_manifest(self) -> str:
        """The manifest of a pod network that others make, as the user gave it at first; kept from then on.

        Raises:
            UsageError: the user's file is gone, or no such manifest.
        """
        kept = self._read("cni.yaml")
        if not kept:
            kept = read_manifest(self.options.cni, self.options.cni_manifest)
            write_atomic(self.directory / "cni.yaml", kept)
        return kept

    def keep_kubeconfig(self, content: str) -> None:
        """Keep the administrator's kubeconfig."""
        write_atomic(self.directory / "admin.conf", content)

    def forget(self) -> None:
        """Remove the cluster's directory and sockets."""
        shutil.rmtree(socket_directory(self.plan.identity), ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)


def cluster_directory(context: DriverContext, name: str) -> Path:
    """Everything of the cluster called ``name``."""
    return context.directory.absolute() / "clusters" / name


def boxes(context: DriverContext) -> BoxBuilder:
    """The boxes of this user."""
    return BoxBuilder(context.layout.boxes, context.runner, context.artifacts)


def identity(context: DriverContext, name: str) -> str:
    """The identity of the cluster called ``name``, known also when its plan is lost."""
    return identify(str(context.directory.absolute()), name)


def load_plan(context: DriverContext, name: str) -> ClusterPlan:
    """The plan of the cluster called ``name``.

    Raises:
        NotFoundError: there is none, or none that can be read.
    """
    try:
        return decode_plan((cluster_directory(context, name) / "plan.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise NotFoundError(f'There is no vagrant cluster "{name}".', hint=host_command("list")) from exc


def load(context: DriverContext, spec: ClusterSpec) -> VagrantCluster:
    """The cluster of ``spec``; errors as for ``load_plan``."""
    return VagrantCluster(context, spec, load_plan(context, spec.name))


def reservation(plan: ClusterPlan, spec: ClusterSpec) -> Reservation:
    """What a kubelet in a container leaves alone: all of the host beyond the machine's own size."""
    cpus = memory = "0"
    if plan.host_cpus and spec.size.cpus is not None and spec.size.cpus < plan.host_cpus:
        cpus = f"{int((plan.host_cpus - spec.size.cpus) * 1000)}m"
    if plan.host_memory and spec.size.memory is not None and spec.size.memory < plan.host_memory:
        memory = f"{(plan.host_memory - spec.size.memory) // MIB}Mi"
    return Reservation(cpus=cpus, memory=memory)
