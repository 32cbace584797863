"""The files a native node is born with: runit services, containerd's and the CNI's configuration, hosts. Pure.

Names and paths are those inside the node, which has a root of its own (see ``node-boot.sh``).
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

from localk8s.drivers import runtime_files
from localk8s.drivers.native.plan import ClusterPlan, NodePlan
from localk8s.drivers.service_script import service_script
from localk8s.kubeadm import command_lines
from localk8s.kubeadm.etcd import progress_argument
from localk8s.kubeadm.parameters import KUBELET_CONFIG, KUBELET_FLAGS, PROXY_CONF, KubeadmParameters
from localk8s.kubeadm.phases import CREDENTIALS_READY, PROXY_CONFIG
from localk8s.model.status import NodeRole

SERVICES = "/run/localk8s/service"
START_SERVICES = f"for service in {SERVICES}/*; do sv up $service; sv cont $service; done >/dev/null"
"""Lets every program run that somebody, or a ``stop`` that was killed, has put down or paused; no effect on what runs."""
LOGS = "/var/log/localk8s"
CONTAINERD_CONFIG = "/etc/localk8s-containerd.toml"
CTR = "/usr/bin/ctr"
PYTHON = "/usr/bin/python3"
DNS_CONF = "/etc/kubernetes/dns.conf"
"""The DNS feeder's kubeconfig, as JSON: it runs on the standard library alone."""
NO_DOCKER = "/run/localk8s/no-docker"
LIBRARY = "/run/localk8s/lib"
"""Where the node finds the modules of localk8s that its DNS feeder is made of."""


@dataclass(frozen=True, slots=True)
class Service:
    """One supervised program."""

    name: str
    argv: Sequence[str]
    needs: str = ""
    """A file that must be there before it is started."""
    environment_file: str = ""
    """A file of shell assignments; ``$KUBELET_KUBEADM_ARGS`` in it is appended to ``argv``."""
    environment: Sequence[tuple[str, str]] = ()
    prepare: Sequence[str] = ()
    """Shell lines that run before it."""
    more: str = ""
    """Shell text with more arguments, from what ``prepare`` set."""


def run_script(service: Service) -> str:
    """The ``run`` script of a runit service directory."""
    before: list[str] = []
    prepare, tail = [*service.prepare], f" {service.more}" if service.more else ""
    if service.needs:
        before.append(f"until [ -e {shlex.quote(service.needs)} ]; do sleep 0.05; done")
    if service.environment_file:
        prepare.append(f"[ ! -e {service.environment_file} ] || . {service.environment_file}")
        tail += " ${KUBELET_KUBEADM_ARGS-}"
    return service_script(service.argv, dict(service.environment), prepare, before=before, tail=tail)


def log_script(service: Service) -> str:
    """The ``log/run`` script: ten files of a megabyte at most."""
    directory = f"{LOGS}/{service.name}"
    return f"#!/bin/sh\nmkdir -p {directory}\nexec svlogd {directory}\n"


def services(
    parameters: KubeadmParameters, plan: ClusterPlan, node: NodePlan, *, upstream: Sequence[str]
) -> tuple[Service, ...]:
    """What is supervised on a node.

    Args:
        parameters: the cluster.
        plan: the cluster on this host.
        node: the node.
        upstream: name servers to which the cluster DNS passes on what it does not know.
    """
    common = (
        Service("containerd", ("containerd", "--config", CONTAINERD_CONFIG)),
        Service(
            "kubelet",
            command_lines.kubelet(),
            needs=KUBELET_CONFIG,
            environment_file=KUBELET_FLAGS,
            prepare=_before_kubelet(parameters),
        ),
        Service("kube-proxy", command_lines.kube_proxy(PROXY_CONFIG), needs=PROXY_CONF),
    )
    if node.role is NodeRole.WORKER:
        return common
    control_plane = (
        Service(
            "etcd",
            command_lines.etcd(node.name),
            needs=CREDENTIALS_READY,
            prepare=(progress_argument("etcd"),),
            more="$progress",
        ),
        Service("kube-apiserver", command_lines.kube_apiserver(parameters, str(node.address)), needs=CREDENTIALS_READY),
        Service("kube-controller-manager", command_lines.kube_controller_manager(parameters), needs=CREDENTIALS_READY),
        Service("kube-scheduler", command_lines.kube_scheduler(parameters), needs=CREDENTIALS_READY),
    )
    return (*control_plane, *common, _dns(plan, node, upstream))


def _before_kubelet(parameters: KubeadmParameters) -> tuple[str, ...]:
    """What saves a kubelet seconds.

    It asks the API server at growing intervals, up to 7 s: it is started when something listens there (10 s at most).
    Before 1.24 cAdvisor asks a docker daemon for its directory five times, a second apart: it is told one.
    """
    host, _, port = parameters.endpoint.rpartition(":")
    wait = f"for i in $(seq 100); do socat -u OPEN:/dev/null TCP:{host}:{port} 2>/dev/null && break; sleep 0.1; done"
    # A full disk or a power cut leaves empty certificates; without any the kubelet asks for new ones.
    pki = "/var/lib/kubelet/pki"
    empty = f"[ ! -d {pki} ] || {{ find {pki} -type f -size 0 -delete; find {pki} -xtype l -delete; }}"
    if parameters.at_least(24):
        return (empty, wait)
    answer = f"timeout 10 socat UNIX-LISTEN:/run/docker.sock,fork,unlink-early EXEC:{NO_DOCKER} &"
    return (empty, wait, f"if [ ! -e /run/docker.sock ]; then {answer} sleep 0.05; fi")


def no_docker_script() -> str:
    """A program that answers any HTTP request as a docker daemon that only knows its directory."""
    body = '{"DockerRootDir":"/var/lib/docker"}'
    head = f"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: {len(body)}\\r\\nConnection: close"
    return f"#!/bin/sh\nread -r request\nprintf '{head}\\r\\n\\r\\n{body}'\n"


def _dns(plan: ClusterPlan, node: NodePlan, upstream: Sequence[str]) -> Service:
    network = plan.network
    argv = [
        PYTHON, "-m", "localk8s.kube.dns_feed",
        "--kubeconfig", DNS_CONF,
        "--zone-dir", "/run/localk8s/dns",
        "--domain", network.domain,
        "--service-cidr", str(network.services),
        "--pod-cidr", str(network.pods),
        "--listen", f"{node.address}:53",
    ]  # fmt: skip
    for server in upstream:
        argv += ["--forward", server]
    environment = [("PYTHONPATH", LIBRARY), ("PYTHONDONTWRITEBYTECODE", "1")]
    return Service("dns", argv, needs=DNS_CONF, environment=environment)


def cni_configuration(node: NodePlan) -> str:
    """Pods get a cable of their own to the node (ptp), so that every packet is routed and kube-proxy sees it."""
    return runtime_files.cni_configuration(node.pods, {"type": "ptp"})


def containerd_configuration(pause: str, *, may_raise_priority: bool) -> str:
    """Containerd's configuration: all it runs and keeps is the node's own (see ``runtime_files``)."""
    return runtime_files.containerd_configuration(
        pause,
        plugins="/usr/lib/cni",
        may_raise_priority=may_raise_priority,
        systemd_groups=False,
    )


def machine_identity(plan: ClusterPlan, node: NodePlan) -> str:
    """The content of /etc/machine-id: another for every node, the same at each boot (machine-id(5))."""
    return hashlib.sha256(f"{plan.identity}/{plan.name}/{node.name}".encode()).hexdigest()[:32] + "\n"


def hosts_file(nodes: Sequence[NodePlan]) -> str:
    """/etc/hosts: every node by name."""
    return runtime_files.hosts_file((node.name, node.address) for node in nodes)


def resolv_conf(upstream: Sequence[str]) -> str:
    """/etc/resolv.conf of a node: the host's name servers where there is an uplink, none otherwise."""
    return "".join(f"nameserver {server}\n" for server in upstream)


RESOLV_CONF = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf", "/run/NetworkManager/no-stub-resolv.conf")
"""Where hosts name their servers: where the first names a resolver on loopback, its own servers stand in the others
(systemd-resolved.service(8), NetworkManager.conf(5))."""


def find_upstream(texts: Sequence[str], *, uplink: bool) -> tuple[str, ...]:
    """The servers of the first of ``texts`` (of the files ``RESOLV_CONF``) that names one which a node can reach."""
    return next((found for text in texts if (found := upstream_servers(text, uplink=uplink))), ())


def upstream_servers(resolv: str, *, uplink: bool) -> tuple[str, ...]:
    """IPv4 name servers in the text of the host's resolv.conf that a node can reach (no loopback ones)."""
    found = []
    for line in resolv.splitlines():
        fields = line.split()
        if len(fields) >= 2 and fields[0] == "nameserver" and _is_ipv4(fields[1]) and not fields[1].startswith("127."):
            found.append(fields[1])
    return tuple(found) if uplink else ()


def _is_ipv4(text: str) -> bool:
    try:
        IPv4Network(text)
    except ValueError:
        return False
    return True
