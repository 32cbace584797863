"""How a native cluster comes up: the steps, in order, each safe to run again.

Everything that can wait by itself is started at once (all control plane programs retry until the API answers);
the steps only say what is waited for. Images are unpacked beside all of it.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from localk8s.artifacts.base import Artifacts
from localk8s.artifacts.kinds import Image, ImageRole
from localk8s.drivers.native.cluster import NativeCluster
from localk8s.drivers.native.machine import NativeNode
from localk8s.drivers.native.network import lay_host_network, route_batch, run_batch
from localk8s.drivers.native.node_files import CTR, DNS_CONF, LOGS, SERVICES
from localk8s.drivers.native.plan import NodePlan
from localk8s.drivers.native.storage import keep, kept_images
from localk8s.kube.readiness import wait_api, wait_dns, wait_nodes
from localk8s.kube.rest import RestClient
from localk8s.kubeadm import phases, validity
from localk8s.kubeadm.parameters import ADMIN_CONF, PKI, PROXY_CONF, JoinTicket, KubeadmParameters
from localk8s.model.errors import CommandError, KubernetesError
from localk8s.model.hints import command
from localk8s.model.progress import Reporter, Step
from localk8s.model.status import NodeRole
from localk8s.model.versions import KubernetesVersion
from localk8s.system.host import Host
from localk8s.system.wait import Pending, wait_until

T = TypeVar("T")
_ROLES = (ImageRole.PAUSE, ImageRole.ECHO)


@dataclass
class Bringing:
    """A start in progress: what the steps hand to each other."""

    cluster: NativeCluster
    parameters: KubeadmParameters
    images: tuple[Image, ...] = ()
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When it began: what a node said before does not count."""
    fresh: bool = True
    """Whether the cluster is made now, and was not there before."""
    renewed: bool = False
    """Whether its certificates had to be made anew."""
    booted: tuple[str, ...] = ()
    """Names of the nodes that were off."""

    @property
    def pause(self) -> str:
        """Reference of the sandbox image."""
        return next(image.reference for image in self.images if image.role is ImageRole.PAUSE)


def bring_up(cluster: NativeCluster, artifacts: Artifacts, host: Host, report: Reporter, *, wait: bool = True) -> None:
    """From nothing, from stopped or from half-way to Running; without ``wait`` nodes and DNS may follow.

    Raises:
        Localk8sError: a step failed; what was made stays, the next call goes on.
    """
    bringing = Bringing(cluster, cluster.parameters(host.facts()))
    count = cluster.spec.nodes
    with report.step("fetch", "finding the artifacts") as step:
        fetch(bringing, artifacts, step)
    with ThreadPoolExecutor(max_workers=3 * count + 4, thread_name_prefix="localk8s") as pool:
        bringing.booted = tuple(node.name for node in cluster.nodes if not cluster.is_up(node))
        with report.step("boot", f"booting {plural(len(bringing.booted), 'node')}") as step:
            boot(bringing, pool)
            step.finish_as(f"booted {plural(len(bringing.booted), 'node')}" if bringing.booted else "all nodes run")
        imports = [pool.submit(import_images, node, bringing.images) for node in cluster.nodes]
        with report.step("init", "starting the control plane") as step:
            client = start_control_plane(bringing, pool)
            started = "started the control plane" if cluster.control_plane.name in bringing.booted else "the control plane runs"
            step.finish_as(f"{started}{' with new certificates' if bringing.renewed else ''}")
        publishing = pool.submit(phases.publish_configuration, cluster.control_plane, bringing.parameters)
        plans = cluster.plan.nodes(count)
        announcing = [
            pool.submit(announce_dns, bringing, client),
            *(pool.submit(give_pod_range, client, plan) for plan in plans),
        ]
        if workers := [node for node in cluster.nodes if node.role is NodeRole.WORKER and not phases.has_joined(node)]:
            with report.step("join", f"joining {plural(len(workers), 'worker')}") as step:
                if not bringing.fresh:
                    publishing.result()  # a node that joins later must not find yesterday's sizes
                join_workers(bringing, workers, client, pool)
                step.finish_as(f"joined {plural(len(workers), 'worker')}")
        refresh = [pool.submit(refresh_kubelet, node, bringing.parameters) for node in cluster.nodes]
        with report.step("ready", "waiting for API, nodes and DNS") as step:
            for future in (*imports, publishing, *announcing, *refresh):
                future.result()
            if wait:
                wait_until_ready(bringing, client)
            for node in cluster.nodes if bringing.fresh or workers else ():
                flush(node)
            step.finish_as(f"ready: API, {plural(count, 'node')}, DNS" if wait else "ready: API")


def prepare(version: KubernetesVersion, artifacts: Artifacts, report: Reporter) -> None:
    """Fetch and build what a cluster of ``version`` is made of; afterwards it needs no network."""
    with report.step("fetch", f"having Kubernetes {version} ready") as step:
        binaries = artifacts.kubernetes(version, None, step)
        artifacts.node_root(step)
        artifacts.docker_tools(step)
        artifacts.images(binaries, _ROLES, step)
        step.finish_as(f"have Kubernetes {version}, the nodes' root file system and images")


def fetch(bringing: Bringing, artifacts: Artifacts, step: Step) -> None:
    """Have every program and image, and keep them in the cluster's own directory; what it keeps already, it goes on with."""
    spec, directory = bringing.cluster.spec, bringing.cluster.directory
    bringing.images = kept_images(directory)
    if bringing.images:
        step.finish_as(f"found Kubernetes {bringing.parameters.version} (the cluster's own)")
        return
    binaries = artifacts.kubernetes(bringing.parameters.version, spec.artifacts, step)
    root = artifacts.node_root(step)
    bringing.images = artifacts.images(binaries, _ROLES, step)
    keep(directory, binaries, root, bringing.images)
    step.finish_as(f"found Kubernetes {bringing.parameters.version} ({binaries.source})")


def boot(bringing: Bringing, pool: ThreadPoolExecutor) -> None:
    """Fences, bridge and its rules, nodes side by side, routes."""
    cluster = bringing.cluster
    lay_host_network(cluster.host, cluster.plan)
    run_all(pool, [partial(cluster.boot, node, bringing.parameters, bringing.pause) for node in cluster.nodes])
    run_batch(cluster.runner, route_batch(cluster.plan, cluster.plan.nodes(cluster.spec.nodes)))


def import_images(node: NativeNode, images: Sequence[Image]) -> None:
    """Unpack the images that the node's containerd lacks."""

    def listed() -> str | None:
        done = node.run([CTR, "-n", "k8s.io", "images", "list", "-q"], check=False, timeout=10)
        return "." + done.stdout if done.returncode == 0 else None

    there = wait_until(listed, what=f"containerd on {node.name}", timeout=60)[1:].split()
    for image in images:
        if image.reference not in there:
            node.run([CTR, "-n", "k8s.io", "images", "import", "-"], input=image.archive.read_bytes(), timeout=300)


def start_control_plane(bringing: Bringing, pool: ThreadPoolExecutor) -> RestClient:
    """Credentials and kubelet files; then wait until the API answers."""
    node = bringing.cluster.control_plane
    bringing.fresh = not phases.has_credentials(node)
    phases.create_credentials(node, bringing.parameters)
    phases.write_init_config(node, bringing.parameters)
    bringing.renewed = not bringing.fresh and renew_credentials(bringing.cluster)
    phases.start_kubelet_files(node)
    give_dns_credentials(node)
    if bringing.fresh:
        flush(node)
    if bringing.renewed:
        run_all(pool, [partial(restart_programs, each) for each in bringing.cluster.nodes])
    conf = phases.admin_conf(node, bringing.parameters)
    client = RestClient.from_kubeconfig(node.read(conf).decode(), timeout=10)
    wait_api(client, timeout=180)
    return client


def renew_credentials(cluster: NativeCluster) -> bool:
    """Make certificates anew that ran out while the cluster was off, or soon will; whether there were any.

    Raises:
        PrerequisiteError: the clock was set back to before they begin.
    """
    first, now = cluster.control_plane, datetime.now(UTC)
    validity.check_clock(first.read(f"{PKI}/ca.crt").decode(), cluster.spec.name, now)
    if not validity.ends_soon(first, now):
        return False
    joined = [node for node in cluster.nodes if phases.has_joined(node)]
    validity.renew_kubelets(first, joined)
    proxy = validity.renew_proxy(first)
    for node in joined:
        node.write(PROXY_CONF, proxy, mode=0o600)
    validity.renew_control_plane(first)  # the last: by its certificates it is seen whether all this is still to be done
    return True


def restart_programs(node: NativeNode) -> None:
    """Let every program of the node that has credentials read them anew."""
    node.run(
        ["sh", "-c", f"cd {SERVICES} && sv -w 15 restart $(ls -d $PWD/etcd $PWD/kube* $PWD/dns)"], check=False, timeout=120
    )


def refresh_kubelet(node: NativeNode, parameters: KubeadmParameters) -> None:
    """Let a kubelet know a size that has changed."""
    if phases.needs_kubelet_restart(node, parameters):
        node.run(["sv", "-w", "10", "restart", f"{SERVICES}/kubelet"], check=False)


def flush(node: NativeNode) -> None:
    """Have what was just written on the node's disk, in the background: no full disk, no power cut leaves empty files then."""
    node.run(["sh", "-c", "(setsid sync -f /var/lib/kubelet /etc/kubernetes >/dev/null 2>&1 </dev/null &)"], check=False)


def give_dns_credentials(node: NativeNode) -> None:
    """Write the DNS feeder's kubeconfig; the feeder starts when it is there."""
    view = f"kubectl config view --raw --output json --kubeconfig {ADMIN_CONF}"
    node.run(["sh", "-c", f"umask 077; {view} >{DNS_CONF}.new && mv {DNS_CONF}.new {DNS_CONF}"])  # no log sees the key


def announce_dns(bringing: Bringing, client: RestClient) -> None:
    """Tell the API of the cluster DNS, which runs as a supervised program of the control plane."""
    ports = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]
    metadata = {"name": "kube-dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}}
    service = {"clusterIP": str(bringing.parameters.network.dns_address), "ports": ports}
    subsets = [{"addresses": [{"ip": bringing.cluster.control_plane.address}], "ports": ports}]
    _apply(client, {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service})
    _apply(client, {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": subsets})


def _apply(client: RestClient, manifest: dict[str, Any]) -> None:
    what = f"{manifest['kind']} {manifest['metadata']['name']} to be accepted"
    _insist(lambda: client.apply(manifest), what, timeout=60)


def give_pod_range(client: RestClient, node: NodePlan) -> None:
    """Tell the API a node's pod range, once its kubelet has registered it.

    (Registering it before the kubelet does is no way: the kubelet of 1.20 panics at the missing capacity.)
    """
    body = {"spec": {"podCIDR": str(node.pods), "podCIDRs": [str(node.pods)]}}
    _insist(lambda: client.patch(f"/api/v1/nodes/{node.name}", body), f"node {node.name} to register", timeout=180)


def _insist(call: Callable[[], object], what: str, timeout: float) -> None:
    """Call the API until it lets us: namespaces, rights and nodes are made in its first seconds."""

    def accepted() -> bool:
        try:
            call()
        except KubernetesError as exc:
            if exc.status in (403, 404, 409, 500, 503):
                raise Pending(exc.message) from exc
            raise
        return True

    wait_until(accepted, what=what, timeout=timeout)


def join_workers(bringing: Bringing, workers: Sequence[NativeNode], client: RestClient, pool: ThreadPoolExecutor) -> None:
    """Join ``workers`` side by side, as soon as what a join reads is published."""
    first, parameters = bringing.cluster.control_plane, bringing.parameters
    ticket = phases.make_ticket(first, parameters)
    wait_until(lambda: joinable(client, parameters, ticket), what="the right to join", timeout=60, interval=0.05)
    proxy = first.read(PROXY_CONF).decode()

    def join(node: NativeNode) -> None:
        phases.give_proxy_credentials(node, parameters, proxy)
        join_detached(node, parameters, ticket)

    run_all(pool, [partial(join, node) for node in workers])


def join_detached(node: NativeNode, parameters: KubeadmParameters, ticket: JoinTicket) -> None:
    """Join, and wait for the kubelet's credentials but not for kubeadm to notice them (1.20 looks every 5 s).

    kubeadm ends by itself, inside the node.

    Raises:
        CommandError: kubeadm failed; with what it complained.
    """
    phases.prepare_join(node, parameters, ticket)
    log, code = f"{LOGS}/kubeadm-join.log", "/run/localk8s/join.exit"
    line = shlex.join(["kubeadm", *phases.join_arguments(("preflight",))])
    script = f"rm -f {code}; (setsid sh -c '{line}; echo $? >{code}; rm -f {phases.JOIN_CONFIG}' >{log} 2>&1 </dev/null &)"
    node.run(["sh", "-c", script])
    logs = command("logs", node.name, cluster=parameters.cluster)

    def joined() -> bool:
        if phases.has_joined(node):
            return True
        ended = node.run(["cat", code], check=False).stdout.strip()
        if ended not in ("", "0"):
            said = node.run(["cat", log], check=False).stdout
            last = phases.complaint(said)
            message = f"kubeadm join failed on node {node.name}: {last}"
            raise CommandError(["kubeadm", "join"], int(ended), said, message=message, hint=logs)
        return False

    wait_until(joined, what=f"node {node.name} to join", timeout=180, interval=0.1, hint=logs)


def joinable(client: RestClient, parameters: KubeadmParameters, ticket: JoinTicket) -> bool:
    """Whether a join would find at once what it reads: configurations, the rights to them, the signed ticket."""
    kubelet = f"kubelet-config-1.{parameters.version.minor}" if parameters.version.minor < 24 else "kubelet-config"
    namespace = "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system"
    try:
        for name in ("kubeadm-config", kubelet):
            client.get(f"/api/v1/namespaces/kube-system/configmaps/{name}")
        for name in ("kubeadm:nodes-kubeadm-config", f"kubeadm:{kubelet}"):
            client.get(f"{namespace}/rolebindings/{name}")
        info = client.get("/api/v1/namespaces/kube-public/configmaps/cluster-info")
    except KubernetesError as exc:
        raise Pending(exc.message) from exc
    if f"jws-kubeconfig-{ticket.identity}" not in info.get("data", {}):
        raise Pending("the controller manager has not signed the ticket yet")
    return True


def wait_until_ready(bringing: Bringing, client: RestClient) -> None:
    """Until every node is Ready now (yesterday's Ready does not count) and a name resolves through the DNS service."""
    names = [node.name for node in bringing.cluster.nodes]
    wait_nodes(client, bringing.booted, timeout=180, heard_since=bringing.since)
    wait_nodes(client, names, timeout=180)
    network = bringing.parameters.network
    wait_dns(
        str(network.dns_address), f"kubernetes.default.svc.{network.domain}", timeout=60, expected=str(network.services[1])
    )


def run_all(pool: ThreadPoolExecutor, calls: Sequence[Callable[[], T]]) -> list[T]:
    """Run calls side by side; the first failure is raised when all have ended."""
    futures: list[Future[T]] = [pool.submit(call) for call in calls]
    return [future.result() for future in futures]


def plural(count: int, noun: str) -> str:
    """``1 node``, ``3 nodes``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
