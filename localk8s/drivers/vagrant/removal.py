"""Takes every trace of a cluster off the host, by Vagrant and then by looking for what bears the cluster's identity.

What is swept here is what Vagrant forgets: machines whose state was lost, libvirt's networks and copied base images.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from localk8s.drivers.vagrant import host_network, recipe
from localk8s.drivers.vagrant.checks import find_program
from localk8s.drivers.vagrant.cluster import VagrantCluster
from localk8s.model.errors import Localk8sError
from localk8s.model.hints import command
from localk8s.model.node import Runner

LXC_CONTAINERS = Path("/var/lib/lxc")
_VIRSH = ("virsh", "-q", "-c", "qemu:///system")


def remove(cluster: VagrantCluster) -> None:
    """Destroy all machines and what belongs to them; the cluster's directory stays.

    Raises:
        Localk8sError: something could not be removed; the message lists it.
    """
    runner, prefix = cluster.context.runner, cluster.plan.bridge
    troubles: list[str] = []
    if cluster.plan.provider == "lxc":  # what is about to be destroyed needs no graceful halt of half a minute
        names = containers(prefix)
        recipe.each(names, lambda name: runner.run(["lxc-stop", "--kill", "--name", name], check=False, timeout=60))
    if (cluster.directory / "Vagrantfile").exists() and (cluster.directory / ".vagrant").exists():
        _attempt(troubles, lambda: cluster.client.destroy())
    if cluster.plan.provider == "lxc":
        _attempt(troubles, lambda: sweep_lxc(runner, prefix))
        _attempt(troubles, lambda: host_network.remove(runner, cluster.plan))
    if cluster.plan.provider == "libvirt":
        _attempt(troubles, lambda: sweep_libvirt(runner, prefix, cluster.box.name if cluster.plan.box else ""))
    left = _what_is_left(cluster)
    if left:
        raise Localk8sError(
            f"Not everything could be removed: {', '.join(left)} ({'; '.join(troubles) or 'no reason known'}).",
            hint=command("delete", cluster=cluster.spec.name),
        )


def _attempt(troubles: list[str], work: Callable[[], None]) -> None:
    try:
        work()
    except Localk8sError as exc:
        troubles.append(exc.message.rstrip("."))


def _what_is_left(cluster: VagrantCluster) -> tuple[str, ...]:
    if cluster.plan.provider == "lxc":
        return tuple(f"container {name}" for name in containers(cluster.plan.bridge))
    if cluster.plan.provider == "libvirt" and find_program("virsh"):
        return tuple(f"machine {name}" for name in _domains(cluster.context.runner, cluster.plan.bridge))
    return ()


def containers(prefix: str, directory: Path = LXC_CONTAINERS) -> tuple[str, ...]:
    """LXC containers whose name begins with ``prefix``."""
    return tuple(sorted(path.name for path in directory.glob(f"{prefix}-*")))


def sweep_lxc(runner: Runner, prefix: str) -> None:
    """End and remove containers of a cluster that Vagrant no longer knows."""
    for name in containers(prefix):
        runner.run(["lxc-stop", "--kill", "--name", name], check=False, timeout=60)
        runner.run(["lxc-destroy", "--force", "--name", name], check=False, timeout=120)
        runner.run(["rm", "-rf", "--one-file-system", str(LXC_CONTAINERS / name)], check=False, timeout=120)


def sweep_libvirt(runner: Runner, prefix: str, box: str) -> None:
    """Remove machines, networks and volumes of a cluster, and the copy of its box if no other machine uses it."""
    if not find_program("virsh"):
        return
    for domain in _domains(runner, prefix):
        runner.run([*_VIRSH, "destroy", domain], check=False)
        runner.run([*_VIRSH, "undefine", domain, "--remove-all-storage", "--nvram"], check=False, timeout=120)
    for verb in ("net-destroy", "net-undefine"):
        runner.run([*_VIRSH, verb, prefix], check=False)
    for pool in _lines(runner, "pool-list", "--name"):
        volumes = _lines(runner, "vol-list", pool)
        names = [line.split()[0] for line in volumes if line.split()]
        for name in names:
            if name.startswith(f"{prefix}-"):
                runner.run([*_VIRSH, "vol-delete", "--pool", pool, name], check=False)
        if box and not any(_is_machine_disk(name) for name in names if not name.startswith(f"{prefix}-")):
            for name in names:
                if name.startswith(f"{box}_vagrant_box_image"):
                    runner.run([*_VIRSH, "vol-delete", "--pool", pool, name], check=False)


def _is_machine_disk(name: str) -> bool:
    """Whether a volume belongs to a machine of another cluster, which may be an overlay of the same box."""
    return re.match(r"lk8v-[0-9a-f]{6}-", name) is not None


def _domains(runner: Runner, prefix: str) -> tuple[str, ...]:
    return tuple(name for name in _lines(runner, "list", "--all", "--name") if name.startswith(f"{prefix}-"))


def _lines(runner: Runner, *arguments: str) -> tuple[str, ...]:
    done = runner.run([*_VIRSH, *arguments], check=False)
    return tuple(line.strip() for line in done.stdout.splitlines() if line.strip())
