"""What the user left open, decided before anything is recorded: minikube's driver, the runtime, the version of Kubernetes.

Asks this host, or the machine behind the ssh driver; changes nothing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from localk8s.artifacts.base import Artifacts
from localk8s.drivers.minikube.options import Options
from localk8s.drivers.minikube.profile import Home
from localk8s.drivers.minikube.ssh import SshTarget, remote_command, ssh_argv
from localk8s.drivers.minikube.tool import Minikube
from localk8s.drivers.minikube.vm_drivers import Kind, VmDriver, vm_driver
from localk8s.model import hints
from localk8s.model.errors import ArtifactError, CommandError, NotSupportedError, PrerequisiteError, UsageError
from localk8s.model.quantities import format_size
from localk8s.model.spec import DEFAULT_NODE_SIZE, ClusterSpec, NodeSize
from localk8s.model.versions import NEWEST_MINOR, KubernetesVersion, parse_kubernetes_version
from localk8s.system.process import HostRunner

_PROBE = 8.0
"""Seconds a program may take to say that it is there."""
_ENGINES = ("docker", "podman")

_PREFERENCE: Mapping[str, tuple[tuple[str, str], ...]] = {
    "linux": (("docker", "docker"), ("kvm2", "virsh"), ("virtualbox", "VBoxManage"), ("qemu2", "qemu-system-x86_64")),
    "darwin": (("docker", "docker"), ("vfkit", "vfkit"), ("qemu2", "qemu-system-aarch64"), ("virtualbox", "VBoxManage")),
    "win32": (("docker", "docker"), ("hyperv", "powershell"), ("virtualbox", "VBoxManage")),
}
"""By platform: drivers and the program that shows they are installed. None and ssh are never chosen for the user."""


class Chooser:
    """Fills in what is open.

    Args:
        runner: runs programs on this host.
        environment: for PATH and ``MINIKUBE_DRIVER``.
        home: for the driver that the user's own ``minikube config`` names.
        platform: as ``sys.platform`` spells it.
    """

    def __init__(self, runner: HostRunner, environment: Mapping[str, str], home: Home, platform: str) -> None:
        self._runner = runner
        self._environment = environment
        self._home = home
        self._platform = platform

    def driver(self, options: Options) -> VmDriver:
        """The one asked for, the one that the user's minikube is set to, or the first that works here.

        Raises:
            PrerequisiteError: none does.
        """
        if options.driver is not None:
            return options.driver
        named = self._environment.get("MINIKUBE_DRIVER") or self._configured()
        if named:
            return vm_driver(named)
        for name, program in _PREFERENCE.get(self._platform, _PREFERENCE["linux"]):
            if self._installed(program) and (name not in _ENGINES or self.engine_answers(name)):
                return vm_driver(name)
        raise PrerequisiteError(
            "None of minikube's drivers works on this host: no Docker daemon answers, and no virtual machines are installed.",
            hint="install Docker, or name one of minikube's drivers: --vm-driver",
        )

    def runtime(self, options: Options, driver: VmDriver, version: KubernetesVersion, cluster: str) -> str:
        """The container runtime: docker wherever it is the node's own, because docker-env needs it; else what is there."""
        if options.runtime:
            return options.runtime
        if driver.kind is Kind.NONE:
            usable = self.engine_answers("docker") and (version.minor < 24 or self._installed("cri-dockerd"))
            return "docker" if usable or not self._installed("containerd") else "containerd"
        if driver.kind is Kind.SSH:
            return self._remote_runtime(options, cluster)
        return "docker"

    def engine_answers(self, engine: str) -> bool:
        """Whether the daemon behind ``docker`` or ``podman`` can be reached."""
        argv = [engine, "version", "--format", "{{.Server.Version}}"] if engine == "docker" else [engine, "info"]
        return self._works(argv)

    def _remote_runtime(self, options: Options, cluster: str) -> str:
        look = "docker version >/dev/null 2>&1 && echo docker || { command -v containerd >/dev/null && echo containerd; }"
        argv = (*ssh_argv(remote_target(options, cluster)), remote_command(["sh", "-c", look], options.ssh_user or "root"))
        try:
            done = self._runner.run(argv, timeout=_PROBE, check=False)
        except (CommandError, PrerequisiteError):
            return "containerd"
        return "docker" if done.stdout.strip() == "docker" else "containerd"

    def _configured(self) -> str:
        try:
            content = json.loads(self._home.config_file.read_text(encoding="utf-8"))
            return str(content.get("driver") or content.get("vm-driver") or "")
        except (OSError, ValueError, AttributeError):
            return ""

    def _installed(self, program: str) -> bool:
        return shutil.which(program, path=self._environment.get("PATH")) is not None

    def _works(self, argv: list[str]) -> bool:
        try:
            return self._runner.run(argv, timeout=_PROBE, check=False).returncode == 0
        except (CommandError, PrerequisiteError):
            return False


def remote_target(options: Options, cluster: str) -> SshTarget:
    """The machine of the ssh driver as the user described it; ``cluster`` is named in the hint.

    Raises:
        UsageError: its address is not given.
    """
    if not options.ssh_address:
        raise UsageError(
            "minikube's ssh driver needs the address of the machine.",
            hint=_start(cluster, "--vm-driver", "ssh", "--minikube-arg", "--ssh-ip-address=ADDRESS"),
        )
    key = Path(options.ssh_key).expanduser() if options.ssh_key else None
    return SshTarget(options.ssh_address, options.ssh_port or 22, options.ssh_user or "root", key)


def kubernetes_version(spec: ClusterSpec, tool: Minikube, artifacts: Artifacts) -> KubernetesVersion:
    """The version asked for, the one in the directory that the user named, or the newest that this minikube knows.

    Raises:
        ArtifactError: nothing says which.
        PrerequisiteError: there is no usable minikube.
    """
    if spec.kubernetes_version is not None:
        return spec.kubernetes_version
    if spec.artifacts is not None:
        return artifacts.newest_version(spec.artifacts)
    newest = tool.newest_kubernetes(NEWEST_MINOR)
    if newest is None:
        raise ArtifactError(
            f"minikube {tool.version} does not say which versions of Kubernetes it knows.",
            hint=_start(spec.name, "--kubernetes-version", "1.36.0"),
        )
    return parse_kubernetes_version(newest)


def node_size(spec: ClusterSpec, driver: VmDriver) -> NodeSize:
    """The size to record: what minikube can give, or nothing where machines are taken as they are.

    Raises:
        UsageError: a part of a processor, or less than minikube accepts.
        NotSupportedError: a size for a machine that minikube does not make.
    """
    size = spec.size
    if not driver.bounds_size:
        _refuse_sizes(spec, driver)
        return NodeSize()
    if size.cpus is not None and size.cpus != int(size.cpus):
        whole = int(size.cpus) + 1
        raise UsageError(
            f"minikube gives whole processors to a node, not {size.cpus}.", hint=_start(spec.name, "--cpus", str(whole))
        )
    return size


def _start(cluster: str, *arguments: str) -> str:
    return hints.command("start", "--driver", "minikube", *arguments, cluster=cluster)


def _refuse_sizes(spec: ClusterSpec, driver: VmDriver) -> None:
    """What was typed is a wish, and so is what is configured; localk8s's own defaults are none."""
    own, size = DEFAULT_NODE_SIZE, spec.size
    wishes = [
        f"--memory {format_size(size.memory)}" if size.memory and _is_wish("memory", size.memory, own.memory, spec) else "",
        f"--disk-size {format_size(size.disk)}" if size.disk and _is_wish("disk-size", size.disk, own.disk, spec) else "",
        f"--cpus {size.cpus}" if size.cpus and ("cpus" in spec.typed or size.cpus > (own.cpus or 0)) else "",
    ]
    if asked := ", ".join(filter(None, wishes)):
        raise NotSupportedError(
            f"minikube's {driver.name} driver takes the machine as it is: {asked} cannot be given to it.",
            hint=_start(spec.name, "--vm-driver", driver.name),
        )


def _is_wish(field: str, size: int, own: int | None, spec: ClusterSpec) -> bool:
    return field in spec.typed or size != own
