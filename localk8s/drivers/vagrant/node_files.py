"""The files that turn a Debian machine into a node: units, containerd, network. Pure: path -> file.

``static_files`` are the same on every machine (baked into boxes built here, sent over ssh to stock boxes);
``machine_files`` belong to one machine and are rewritten whenever the cluster's members change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from localk8s.drivers import runtime_files
from localk8s.drivers.vagrant.plan import ClusterPlan, Machine
from localk8s.kubeadm.parameters import API_PORT
from localk8s.model.versions import KubernetesVersion

PACKAGES = (
    "bind9-host", "ca-certificates", "conntrack", "containerd", "containernetworking-plugins", "curl", "dbus", "ebtables",
    "ethtool", "iproute2", "iptables", "iputils-ping", "keepalived", "kmod", "mount", "openssh-server", "procps",
    "python3", "runc", "socat", "sudo", "systemd", "systemd-sysv", "util-linux",
)  # fmt: skip
"""Debian packages of a node. python3 is for Ansible, keepalived for several control planes."""

PROGRAMS = ("kubeadm", "kubectl", "kubelet")
"""Kubernetes programs on a node; the others come in images."""

CONTAINERD_CONFIG = "/etc/containerd/config.toml"
_NO_DOCKERSHIM = 24
"""The first minor whose kubelet does not ask for a docker daemon."""
CNI_CONFIG = "/etc/cni/net.d/10-localk8s.conflist"
NETWORK_BATCH = "/etc/localk8s/network"
HOSTS = "/etc/hosts"


@dataclass(frozen=True, slots=True)
class File:
    """A file on a machine."""

    content: str
    mode: int = 0o644


def static_files(pause: str, version: KubernetesVersion, *, virtual_machine: bool) -> Mapping[str, File]:
    """What every machine has.

    Args:
        pause: reference of the sandbox image.
        version: of Kubernetes.
        virtual_machine: False for a container that looks like a machine and shares the host's kernel.
    """
    files = {
        CONTAINERD_CONFIG: File(containerd_configuration(pause, virtual_machine=virtual_machine)),
        "/etc/crictl.yaml": File("runtime-endpoint: unix:///run/containerd/containerd.sock\n"),
        "/etc/systemd/system/kubelet.service": File(KUBELET_UNIT),
        "/etc/systemd/system/localk8s-network.service": File(NETWORK_UNIT),
        "/usr/local/sbin/localk8s-network": File(NETWORK_SCRIPT, 0o755),
        "/etc/systemd/system.conf.d/localk8s.conf": File("[Manager]\nDefaultTimeoutStopSec=5s\n"),
        "/etc/systemd/journald.conf.d/localk8s.conf": File("[Journal]\nStorage=volatile\nRuntimeMaxUse=64M\n"),
        "/etc/systemd/system/keepalived.service.d/localk8s.conf": File(
            "[Unit]\nConditionPathExists=/etc/keepalived/keepalived.conf\n"
        ),
    }
    if version.minor < _NO_DOCKERSHIM:
        files["/usr/local/sbin/localk8s-no-docker"] = File(NO_DOCKER, 0o755)
        files["/etc/systemd/system/kubelet.service.d/no-docker.conf"] = File(NO_DOCKER_UNIT)
    if virtual_machine:
        files["/etc/modules-load.d/localk8s.conf"] = File("overlay\nbr_netfilter\n")
        files["/etc/sysctl.d/99-localk8s.conf"] = File(SYSCTL)
    return files


def machine_files(plan: ClusterPlan, machine: Machine) -> Mapping[str, File]:
    """What one machine has, as the cluster's members are now."""
    files = {
        "/etc/hostname": File(f"{machine.name}\n"),
        HOSTS: File(hosts_file(plan)),
        NETWORK_BATCH: File(network_batch(plan, machine)),
        CNI_CONFIG: File(cni_configuration(machine)),
    }
    if plan.balanced and machine.index in plan.control_planes:
        files["/etc/keepalived/keepalived.conf"] = File(keepalived_configuration(plan, machine), 0o600)
        files["/usr/local/sbin/localk8s-api-answers"] = File(API_CHECK, 0o755)
    return files


def hosts_file(plan: ClusterPlan) -> str:
    """/etc/hosts: every machine by name."""
    return runtime_files.hosts_file((machine.name, machine.address) for machine in plan.machines)


def network_batch(plan: ClusterPlan, machine: Machine) -> str:
    """What ``localk8s-network`` reads: this machine's address, then a line of ``ip`` for each route (``DEV`` is the card).

    The service range has a route of its own, so that a machine without a default route reaches services; the
    cloud's metadata address leads nowhere at once, since a kubelet asks for it and would wait.
    """
    lines = [
        str(machine.address),
        "route replace unreachable 169.254.0.0/16 metric 4000000000",
        f"route replace unreachable {plan.network.pods} metric 4000000000",
        f"route replace {plan.network.services} dev DEV",
    ]
    lines += [
        f"route replace {other.pods} via {other.address} dev DEV" for other in plan.machines if other.index != machine.index
    ]
    return "\n".join(lines) + "\n"


def cni_configuration(machine: Machine) -> str:
    """A bridge on each machine, with the machine's own pod range."""
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "hairpinMode": True}
    return runtime_files.cni_configuration(machine.pods, bridge)


def containerd_configuration(pause: str, *, virtual_machine: bool) -> str:
    """Containerd's configuration with Debian's programs; in a container that looks like a machine rights are missing."""
    return runtime_files.containerd_configuration(
        pause, plugins="/usr/lib/cni", may_raise_priority=virtual_machine, systemd_groups=virtual_machine
    )


def keepalived_configuration(plan: ClusterPlan, machine: Machine) -> str:
    """The API's own address moves to a control plane whose API server answers."""
    peers = "".join(f"    {plan.machine(index).address}\n" for index in plan.control_planes if index != machine.index)
    return f"""global_defs {{
  router_id {machine.name}
  enable_script_security
  script_user root
}}
vrrp_script api {{
  script "/usr/local/sbin/localk8s-api-answers"
  interval 2
  timeout 2
  fall 2
  rise 1
}}
vrrp_instance api {{
  state BACKUP
  interface DEV
  virtual_router_id 61
  priority {150 - machine.index}
  advert_int 1
  unicast_src_ip {machine.address}
  unicast_peer {{
{peers}  }}
  virtual_ipaddress {{
    {plan.endpoint}/{plan.network.nodes.prefixlen}
  }}
  track_script {{
    api
  }}
}}
"""


API_CHECK = f"""#!/bin/sh
exec curl --silent --fail --insecure --max-time 2 --output /dev/null https://127.0.0.1:{API_PORT}/livez
"""

KUBELET_UNIT = """[Unit]
Description=kubelet: the Kubernetes node agent
After=containerd.service localk8s-network.service
Wants=containerd.service
ConditionPathExists=/var/lib/kubelet/config.yaml

[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf \
--kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS
Restart=always
RestartSec=1
StartLimitInterval=0

[Install]
WantedBy=multi-user.target
"""
"""Not begun before kubeadm has written its configuration; kubeadm starts it then, and every boot after that.

Without the condition it would fail once a second till then, which takes half of an emulated processor.
"""

NETWORK_UNIT = """[Unit]
Description=Address, name and pod routes of this localk8s machine
After=network-pre.target
Before=network.target network-online.target containerd.service kubelet.service ssh.service
DefaultDependencies=no
After=local-fs.target systemd-remount-fs.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/localk8s-network

[Install]
WantedBy=multi-user.target
"""

NETWORK_SCRIPT = f"""#!/bin/sh
# Gives a directly booted machine its address and name from the kernel's command line, then lays the pod routes.
set -u
ip link set lo up
for word in $(cat /proc/cmdline); do
  case $word in
    localk8s.address=*) ip link set eth0 up; ip address replace "${{word#*=}}" dev eth0 ;;
    localk8s.hostname=*) [ -s /etc/hostname ] || hostname "${{word#*=}}" ;;
  esac
done
[ -s /etc/hostname ] && hostname "$(cat /etc/hostname)"
[ -e {NETWORK_BATCH} ] || exit 0
read -r address <{NETWORK_BATCH}
device=$(ip -o -4 address show | awk -v want="$address" '{{ split($4, part, "/"); if (part[1] == want) {{ print $2; exit }} }}')
[ -n "$device" ] || {{ echo "no network card has $address" >&2; exit 1; }}
# Routes to pods of machines that have left are taken away: pod ranges are ours alone.
ip -4 route show dev "$device" | awk '$2 == "via" {{ print $1 }}' | while read -r range; do
  [ "$range" = default ] || grep -q " $range " {NETWORK_BATCH} || ip route delete "$range" dev "$device"
done
sed -e 1d -e "s/DEV/$device/" {NETWORK_BATCH} | ip -batch -
if [ -e /etc/keepalived/keepalived.conf ]; then
  sed -i "s/interface DEV$/interface $device/" /etc/keepalived/keepalived.conf
fi
"""

NO_DOCKER = r"""#!/bin/sh
# An old kubelet asks a docker daemon for its directory five times, a second apart, before it does anything else.
# This answers for ten seconds, and is no daemon.
if [ "${1-}" = answer ]; then
  body='{"DockerRootDir":"/var/lib/docker"}'
  read -r request
  printf 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n'
  printf 'Content-Length: %d\r\n\r\n%s' ${#body} "$body"
  exit 0
fi
[ -e /run/docker.sock ] && exit 0
exec systemd-run --quiet --collect --property=KillMode=control-group sh -c \
  "timeout 10 socat UNIX-LISTEN:/run/docker.sock,fork,unlink-early EXEC:'$0 answer'; rm -f /run/docker.sock"
"""

NO_DOCKER_UNIT = """[Service]
ExecStartPre=-/usr/local/sbin/localk8s-no-docker
"""

SYSCTL = """net.bridge.bridge-nf-call-iptables = 1
net.bridge.bridge-nf-call-ip6tables = 1
net.ipv4.ip_forward = 1
fs.inotify.max_user_watches = 524288
fs.inotify.max_user_instances = 8192
"""
