"""The steps that bring machines and the cluster on them up. Each is safe to run again; ``bring_up`` reads top to bottom.

Machines first, cluster second: Vagrant boots bare machines, everything after goes over ssh.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from localk8s.drivers.vagrant import host_network, stock
from localk8s.drivers.vagrant.client import PartialBootError, VagrantError
from localk8s.drivers.vagrant.cluster import VagrantCluster, boxes
from localk8s.drivers.vagrant.dns_manifest import dns_manifests
from localk8s.drivers.vagrant.node import SshNode, unpack
from localk8s.drivers.vagrant.node_files import machine_files
from localk8s.drivers.vagrant.options import PodNetwork
from localk8s.drivers.vagrant.plan import Machine
from localk8s.drivers.vagrant.pod_network import adapt
from localk8s.kube.readiness import wait_api, wait_nodes
from localk8s.kube.rest import RestClient
from localk8s.kubeadm import machines as kubeadm
from localk8s.kubeadm import validity
from localk8s.kubeadm.parameters import ADMIN_CONF, PKI
from localk8s.kubeadm.phases import has_joined, read_secret, write_init_config
from localk8s.model.errors import CommandError, Localk8sError, WaitTimeoutError, WrongStateError
from localk8s.model.hints import command
from localk8s.model.progress import Reporter, Step
from localk8s.system.wait import Pending, wait_until

T = TypeVar("T")
R = TypeVar("R")
SSH_PORT = 22
_AT_ONCE = 4
_ACCEPT_LIMIT = 90.0
_KUBELET_STARTED = "the kubelet was started"
_SETTLE = f"""
hostname "$(cat /etc/hostname)"
systemctl daemon-reload
localk8s-network
[ ! -e /etc/keepalived/keepalived.conf ] || systemctl reload-or-restart keepalived
chown vagrant: /home/vagrant
start() {{ systemctl -q is-active "$1" || {{ systemctl reset-failed "$1" 2>/dev/null; systemctl start "$1"; }}; }}
start containerd.service
if [ -s /etc/kubernetes/kubelet.conf ] && ! systemctl -q is-active kubelet.service; then
  start kubelet.service
  echo "{_KUBELET_STARTED}"
fi
for unit in /etc/systemd/system/multi-user.target.wants/localk8s-*.service; do
  [ ! -e "$unit" ] || start "${{unit##*/}}" || true
done
"""
"""The home is root's in boxes that were built before its user was: what logs in (Ansible) could write nothing.
What is down on a machine that runs, such as a kubelet that was stopped by hand, is started."""


_SHARE_PLUGINS = "mkdir -p /opt/cni; [ -e /opt/cni/bin ] || ln -s /usr/lib/cni /opt/cni/bin"
"""Pod networks of others put their plugins where Debian's containerd does not look."""
_FOREIGN_LIMIT = 900.0
"""Seconds until nodes are Ready that fetch the images of their pod network first."""


def bring_up(cluster: VagrantCluster, report: Reporter) -> None:
    """From whatever is there to a running cluster.

    Raises:
        PartialBootError: some machines did not come up; on the others the cluster runs nevertheless.
    """
    if cluster.options.cni.foreign:
        cluster.pod_manifest()  # kept before anything boots
    provide_box(cluster, report)
    try:
        booted = boot(cluster, report)
    except PartialBootError as exc:
        rest = cluster.without(exc.down)
        if rest.plan.control_planes:
            raise_cluster(rest, exc.began, report)
        raise
    raise_cluster(cluster, booted, report)


def raise_cluster(cluster: VagrantCluster, booted: datetime | None, report: Reporter) -> None:
    """Machines that run become a cluster that runs; ``booted`` is when the last of them began to boot, if any had to."""
    began = datetime.now(UTC)
    healed = prepare(cluster, report)
    first = init(cluster, report)
    join(cluster, first, report)
    ready(cluster, first, booted, report, healed={name: began for name in healed})


def provide_box(cluster: VagrantCluster, report: Reporter) -> None:
    """Build the box that new machines are made from, unless there is one. Machines keep the box they were made from."""
    version = cluster.spec.kubernetes_version
    if cluster.plan.box or not cluster.options.builds_box or version is None:
        return
    with report.step("box", f"building a {cluster.plan.provider} box with Kubernetes {version}") as step:
        began = time.monotonic()
        built = boxes(cluster.context).build(cluster.plan.provider, version, cluster.spec.artifacts, step)
        cluster.adopt(built)
        step.finish_as("built a box" if time.monotonic() - began > 5 else "found the box")


def boot(cluster: VagrantCluster, report: Reporter) -> datetime | None:
    """Bring all machines up; returns when that began, or None when they all ran already.

    Raises:
        PartialBootError: some did not come up; the others run.
        VagrantError: none came up.
    """
    cluster.write_vagrantfile()
    if cluster.provider.name == "lxc":
        host_network.lay(cluster.context.runner, cluster.plan)
    wanted = cluster.plan.machines
    missing = tuple(machine for machine in wanted if not (cluster.exists(machine) and listens(machine)))
    if not missing:
        return None
    began = datetime.now(UTC)
    count = f"{len(missing)} machine{'s' if len(missing) > 1 else ''}"
    with report.step("boot", f"booting {count}") as step:
        try:
            _boot(cluster, missing, step)
        except PartialBootError as exc:
            exc.began = began
            raise
        step.finish_as(f"booted {count}")
    return began


def _boot(cluster: VagrantCluster, missing: Sequence[Machine], step: Step) -> None:
    up: set[str] = set()

    def watch(line: str) -> None:
        if line.startswith("==> ") and "booted and ready" in line:
            up.add(line[4:].partition(":")[0])
            step.progress(len(up), len(missing), "")

    for machine in missing:
        if cluster.exists(machine):
            cluster.node(machine).fresh()
    try:
        cluster.client.up([machine.name for machine in missing], cluster.plan.provider, watch)
    except VagrantError as exc:
        raise _boot_error(cluster, missing, exc) from exc
    if cluster.built_box is None:
        cluster.remember_hosts(cluster.client.hosts())
        _find_addresses(cluster)


def _boot_error(cluster: VagrantCluster, missing: Sequence[Machine], error: VagrantError) -> VagrantError:
    lost = [
        machine for machine in missing if machine.name in error.machines or not (cluster.exists(machine) and listens(machine))
    ]
    down = [machine.name for machine in lost]
    who = ", ".join(down) or "the machines"
    reason = "; ".join(dict.fromkeys(error.machines.values())) or error.message
    message, again = f"{who} did not boot: {reason.rstrip('.')}.", command("start", cluster=cluster.spec.name)
    if not down or len(down) == len(cluster.plan.machines):
        return VagrantError(error, error.machines, message, again)
    return PartialBootError(error, down, f"{message} The others go on without.", again)


def _find_addresses(cluster: VagrantCluster) -> None:
    """Take over the addresses of machines whose provider gives its own."""
    if cluster.provider.static_address:
        return
    hosts = cluster.client.hosts()
    found = tuple((m.index, hosts[m.name].get("HostName")) for m in cluster.plan.machines if m.name in hosts)
    cluster.save_plan(replace(cluster.plan, addresses=found))


def listens(machine: Machine, port: int = SSH_PORT, timeout: float = 1.0) -> bool:
    """Whether the machine takes connections on ``port`` now.

    Asks only on a network of this host itself: while the machines' network is not there, a question to one of its
    addresses would leave the host by its uplink.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.settimeout(timeout)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_DONTROUTE, 1)
            probe.connect((str(machine.address), port))
            return True
    except OSError:
        return False


def prepare(cluster: VagrantCluster, report: Reporter) -> tuple[str, ...]:
    """Give every machine its name, its routes and its pod range, as the members are now.

    Returns: the names of those whose kubelet was down, and was started.
    """
    if cluster.built_box is None:
        with report.step("provision", f"provisioning {len(cluster.plan.machines)} machines") as step:
            each(cluster.nodes, lambda node: stock.provision(cluster, node, step))
    started = each(cluster.plan.machines, lambda machine: send_files(cluster, machine))
    return tuple(machine.name for machine, was_down in zip(cluster.plan.machines, started, strict=True) if was_down)


def send_files(cluster: VagrantCluster, machine: Machine) -> bool:
    """Write the machine's own files, in one go, and let them take effect; whether its kubelet had to be started. Idempotent."""
    files = dict(machine_files(cluster.plan, machine))
    if cluster.options.cni is not PodNetwork.BRIDGE:
        files = {path: file for path, file in files.items() if not path.startswith("/etc/cni/")}
        cluster.node(machine).run(["sh", "-ec", _SHARE_PLUGINS])
    unpack(cluster.node(machine), files)
    return _KUBELET_STARTED in cluster.node(machine).run(["sh", "-ec", _SETTLE]).stdout


def init(cluster: VagrantCluster, report: Reporter) -> SshNode:
    """The control plane; returns a machine that carries it whole.

    Raises:
        WrongStateError: there was one, and no machine has it any more.
    """
    planes = [cluster.node(cluster.plan.machine(index)) for index in cluster.plan.control_planes]
    whole = [node for node in planes if kubeadm.is_control_plane(node)]
    if not whole:
        if cluster.kubeconfig:
            raise WrongStateError(
                f'The control plane of cluster "{cluster.spec.name}" is gone with its machine, and all data with it.',
                hint=command("delete", cluster=cluster.spec.name),
            )
        with report.step("init", "starting the control plane") as step:
            kubeadm.init(planes[0], cluster.parameters)
            step.finish_as("started the control plane")
        whole = planes[:1]
    else:
        renew_credentials(cluster, whole, report)
    first = whole[0]
    if not cluster.kubeconfig:
        cluster.keep_kubeconfig(read_secret(first, ADMIN_CONF))
    with report.step("api", "waiting for the API") as step:
        wait_for_api(cluster)
        step.finish_as("the API answers")
    return first


def renew_credentials(cluster: VagrantCluster, planes: Sequence[SshNode], report: Reporter) -> None:
    """Make certificates anew that ran out while the machines were off, or soon will.

    Raises:
        PrerequisiteError: the clock was set back to before they begin.
    """
    first, now = planes[0], datetime.now(UTC)
    validity.check_clock(first.run(["cat", f"{PKI}/ca.crt"]).stdout, cluster.spec.name, now)
    for node in planes:
        write_init_config(node, cluster.parameters)
    if not any(each(planes, lambda node: validity.ends_soon(node, now))):
        return
    with report.step("renew", "making certificates anew") as step:
        validity.renew_kubelets(first, [node for node in cluster.nodes if has_joined(node)])
        for node in reversed(
            planes
        ):  # the first is the last: by its certificates it is seen whether all this is still to be done
            validity.renew_control_plane(node)
        kubeadm.restart_programs(planes)
        each(cluster.nodes, lambda node: node.run(["systemctl", "restart", "kubelet"]))
        cluster.keep_kubeconfig(read_secret(first, ADMIN_CONF))
        step.finish_as("made certificates anew")


def wait_for_api(cluster: VagrantCluster) -> None:
    """Wait until the API answers at the address that everyone uses."""
    client = RestClient.from_kubeconfig(cluster.kubeconfig)
    try:
        wait_api(client, timeout=float(cluster.parameters.control_plane_timeout))
    finally:
        client.close()


def join(cluster: VagrantCluster, first: SshNode, report: Reporter) -> None:
    """Join the other control planes one after another, then the workers."""
    planes = [cluster.node(cluster.plan.machine(index)) for index in cluster.plan.control_planes]
    planes = [node for node in planes if node.name != first.name and not kubeadm.is_control_plane(node)]
    workers = [cluster.node(cluster.plan.machine(index)) for index in cluster.plan.workers]
    workers = [node for node in workers if not has_joined(node)]
    owed = len(cluster.plan.control_planes) > 1 and kubeadm.watches_due(first)
    if owed and not planes:
        renew_watches(cluster, first, everywhere=True)
    if not planes and not workers:
        return
    count = len(planes) + len(workers)
    with report.step("join", f"joining {count} machine{'s' if count > 1 else ''}") as step:
        with kubeadm.ticket(first, cluster.parameters) as right:
            for node in planes:
                kubeadm.note_watches(first, due=True)
                kubeadm.join_control_plane(first, node, cluster.parameters, right)
            if planes:
                renew_watches(cluster, planes[-1])
                kubeadm.note_watches(first, due=False)
            each(workers, lambda node: kubeadm.join_worker(first, node, cluster.parameters, right))
        step.finish_as(f"joined {count} machine{'s' if count > 1 else ''}")


def renew_watches(cluster: VagrantCluster, last: SshNode, *, everywhere: bool = False) -> None:
    """Start anew what watched the API before control plane ``last`` joined; on ``last`` too, where nobody knows it was that."""
    planes = [cluster.node(cluster.plan.machine(index)) for index in cluster.plan.control_planes]
    kubeadm.renew_watches([node for node in planes if node.name != last.name])
    wait_for_api(cluster)
    if everywhere:
        kubeadm.renew_watches([last])
        wait_for_api(cluster)
        kubeadm.note_watches(last, due=False)
    kubeadm.release_leases(last)


def ready(
    cluster: VagrantCluster, first: SshNode, booted: datetime | None, report: Reporter, healed: Mapping[str, datetime]
) -> None:
    """Addons, every node Ready by a word from after the boot, and a name that resolves on every node.

    Args:
        cluster: the cluster.
        first: a machine with the control plane.
        booted: when machines began to boot, if they did.
        report: told about the steps.
        healed: nodes whose kubelet was started on a machine that ran, and since when: the API holds their word from before.
    """
    names = [machine.name for machine in cluster.plan.machines]
    limit = float(cluster.parameters.control_plane_timeout)
    with report.step("ready", f"waiting for {len(names)} nodes and DNS") as step:
        add_dns(cluster, first)
        if cluster.options.cni.foreign:
            add_pod_network(cluster, first)
            limit = max(limit, _FOREIGN_LIMIT)
        if cluster.options.cni is PodNetwork.NONE:
            step.finish_as("ready but for a pod network, which you bring")
            return
        client = RestClient.from_kubeconfig(cluster.kubeconfig)
        try:
            wait_nodes(client, names, timeout=limit, heard_since=booted)
            for name, since in healed.items():
                wait_nodes(client, [name], timeout=limit, heard_since=since)
        finally:
            client.close()
        each(cluster.nodes, lambda node: wait_for_dns(cluster, node, limit))
        step.finish_as(f"ready: API, {len(names)} node{'s' if len(names) > 1 else ''}, DNS")


def add_pod_network(cluster: VagrantCluster, first: SshNode) -> None:
    """Give each node its range of pod addresses, and apply the manifest that the user brought."""
    for machine in cluster.plan.machines:
        ranges = json.dumps({"spec": {"podCIDR": str(machine.pods), "podCIDRs": [str(machine.pods)]}})
        kubeadm.kubectl(first, "patch", "node", machine.name, "--patch", ranges)
    manifest = adapt(cluster.options.cni, cluster.pod_manifest(), cluster.plan.network)
    kubeadm.kubectl(first, "apply", "-f", "-", input=manifest, timeout=120.0)


def add_dns(cluster: VagrantCluster, first: SshNode) -> None:
    """Apply cluster DNS; no effect where it is as it should be. Tried again while the API comes to itself."""
    manifests = dns_manifests(cluster.plan.network)

    def accepted() -> bool:
        try:
            kubeadm.kubectl(first, "apply", "-f", "-", input=manifests)
        except CommandError as exc:
            raise Pending(exc.message.rstrip(".")) from exc
        return True

    wait_until(
        accepted,
        what="cluster DNS to be accepted",
        timeout=_ACCEPT_LIMIT,
        interval=1.0,
        hint=command("start", cluster=cluster.spec.name),
    )


def wait_for_dns(cluster: VagrantCluster, node: SshNode, limit: float) -> None:
    """Wait until the cluster's own names resolve on ``node`` through the service address, as pods there would ask."""
    network = cluster.plan.network
    name = f"kubernetes.default.svc.{network.domain}"
    argv = ["host", "-t", "A", "-W", "1", "-R", "1", name, str(network.dns_address)]

    def answers() -> bool:
        done = node.run(argv, check=False, timeout=15)
        if done.returncode != 0:
            raise Pending((done.stdout.strip().splitlines() or ["no answer"])[-1])
        return True

    wait_until(
        answers,
        what=f"cluster DNS on {node.name}",
        timeout=limit,
        interval=0.3,
        hint=command("status", cluster=cluster.spec.name),
    )


def power_off(cluster: VagrantCluster, machines: Sequence[Machine], limit: float) -> tuple[Machine, ...]:
    """Switch machines off from within, all at once; returns those that did not go within ``limit`` seconds."""
    running = [machine for machine in machines if cluster.exists(machine) and listens(machine)]

    def off(machine: Machine) -> Machine | None:
        node = cluster.node(machine)
        try:
            node.run(["systemctl", "--no-block", "poweroff"], timeout=20, check=False)
        except CommandError:
            return machine
        node.fresh()
        try:
            wait_until(lambda: not listens(machine, timeout=0.5), what=machine.name, timeout=limit, interval=0.2)
        except WaitTimeoutError:
            return machine
        return None

    return tuple(machine for machine in each(running, off) if machine is not None)


def each(items: Iterable[T], work: Callable[[T], R]) -> list[R]:
    """Do ``work`` for all items, several at once; the first error is raised after all have ended."""
    items = list(items)
    if not items:
        return []
    with ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(items))) as pool:
        futures = [pool.submit(work, item) for item in items]
    errors = [error for future in futures if (error := future.exception())]
    if errors:
        raise next((error for error in errors if isinstance(error, Localk8sError)), errors[0])
    return [future.result() for future in futures]
