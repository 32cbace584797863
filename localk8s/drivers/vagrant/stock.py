"""Turns a machine from a stock box (Debian or Ubuntu) into a node: packages, files, programs, images. Over ssh, idempotent.

Container runtime and tools come from the distribution's repositories (or the mirrors that the box is set to);
Kubernetes' programs come from the artifact library, so that the version is exactly the one asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from localk8s.artifacts.kinds import ImageRole
from localk8s.drivers.vagrant.box import ROLES
from localk8s.drivers.vagrant.cluster import VagrantCluster
from localk8s.drivers.vagrant.node import SshNode, unpack
from localk8s.drivers.vagrant.node_files import PACKAGES, PROGRAMS, static_files
from localk8s.model.errors import CommandError, WrongStateError
from localk8s.model.hints import command, instead
from localk8s.model.progress import Step

_MARK = "/etc/localk8s/provisioned"
_INSTALL_LIMIT = 1800.0

_INSTALL = f"""
swapoff -a
sed -i '/\\sswap\\s/d' /etc/fstab
systemctl mask --now swap.img.swap dev-zram0.swap 2>/dev/null || true
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y --no-install-recommends {" ".join(PACKAGES)}
apt-mark hold containerd runc >/dev/null
"""

_ENABLE = """
modprobe -a overlay br_netfilter
sysctl -q --system
systemctl daemon-reload
systemctl -q enable kubelet containerd localk8s-network
systemctl restart containerd
"""


def provision(cluster: VagrantCluster, node: SshNode, step: Step) -> None:
    """Make a node of the machine. What has been provisioned for this Kubernetes version is left alone.

    Raises:
        CommandError: a package cannot be had, or a command failed on the machine.
    """
    version = cluster.spec.kubernetes_version
    if version is None:
        raise WrongStateError(
            f'Cluster "{cluster.spec.name}" has no Kubernetes version yet.', hint=command("start", cluster=cluster.spec.name)
        )
    done = node.run(["cat", _MARK], check=False)
    if done.returncode == 0 and done.stdout.strip() == str(version):
        return
    artifacts = cluster.context.artifacts
    binaries = artifacts.kubernetes(version, cluster.spec.artifacts, step)
    images = artifacts.images(binaries, ROLES, step)
    pause = next(image.reference for image in images if image.role is ImageRole.PAUSE)
    step.progress(0, None, f"installing packages on {node.name}")
    _install(node)
    unpack(node, static_files(pause, version, virtual_machine=cluster.provider.virtual_machines))
    for program in PROGRAMS:
        node.copy_in(binaries.directory / program, f"/usr/bin/{program}", mode=0o755)
    node.run(["sh", "-ec", _ENABLE], timeout=120)
    for image in images:
        step.progress(0, None, f"sending {image.reference} to {node.name}")
        node.run(["ctr", "-n", "k8s.io", "images", "import", "-"], input=_chunks(image.archive), timeout=600)
    node.write(_MARK, f"{version}\n")


def _install(node: SshNode) -> None:
    try:
        node.run(["sh", "-ec", _INSTALL], timeout=_INSTALL_LIMIT)
    except CommandError as exc:
        last = next((line for line in reversed(exc.stderr.splitlines()) if line.startswith("E: ")), exc.message)
        raise CommandError(
            exc.argv,
            exc.returncode,
            exc.stdout,
            exc.stderr,
            message=f"Packages cannot be installed on {node.name}: {last.removeprefix('E: ')}",
            hint=instead("--provider", "libvirt"),
        ) from exc


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            yield chunk
