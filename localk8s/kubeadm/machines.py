"""What only real machines need of kubeadm: whole ``init``, control-plane joins, drain, reset, members of etcd.

Knows nodes, not drivers. Every function is safe to call again, also when the call before was killed half-way:
a machine whose mark is missing is reset first.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from localk8s.kubeadm.documents import init_documents, join_documents
from localk8s.kubeadm.etcd import fit_etcd, fitting_etcd
from localk8s.kubeadm.parameters import ADMIN_CONF, KUBELET_CONF, PKI, RUNTIME_ENDPOINT, JoinTicket, KubeadmParameters
from localk8s.kubeadm.phases import (
    INIT_CONFIG,
    JOIN_CONFIG,
    admin_conf,
    join,
    join_arguments,
    kubeadm,
    make_ticket,
    write_init_config,
)
from localk8s.model.errors import CommandError
from localk8s.model.hints import command
from localk8s.model.node import Node
from localk8s.system.wait import Pending, wait_until

CONTROL_PLANE_READY = "/etc/kubernetes/localk8s-control-plane"
"""Exists once a machine's control plane is whole and in the cluster."""

_UPLOAD_CONFIG = "/etc/kubernetes/localk8s-upload.yaml"
_WATCHES_DUE = "/etc/kubernetes/localk8s-watches"
_BY_HAND = ("preflight", "certs", "kubeconfig", "etcd", "control-plane")
"""Phases of ``init`` that are run one by one, so that etcd's manifest fits before a kubelet sees it."""
_NOT_OURS = ("addon/coredns",)
_INIT_LIMIT = 1200.0
_ETCD_LIMIT = 60.0

_BE_PATIENT = """
umask 077
for file in /etc/kubernetes/manifests/*.yaml; do
  grep -q -e 'failureThreshold: 8$' -e 'timeoutSeconds: 15$' "$file" || continue
  sed -e 's/failureThreshold: 8$/failureThreshold: 60/' -e 's/timeoutSeconds: 15$/timeoutSeconds: 60/' \
    "$file" >/etc/kubernetes/patient.new
  mv -f /etc/kubernetes/patient.new "$file"
done
"""
"""A liveness probe ends what has not answered for a minute; on an emulated machine that is what a busy API server does.

Whole files only, made elsewhere: a kubelet takes everything that appears beside them for one more manifest.
"""


def is_control_plane(node: Node) -> bool:
    """Whether the machine carries a whole control plane."""
    return node.run(["test", "-e", CONTROL_PLANE_READY], check=False).returncode == 0


def init(node: Node, parameters: KubeadmParameters) -> None:
    """Make the first control plane on ``node``: ``kubeadm init`` but for cluster DNS. There already: no effect."""
    if is_control_plane(node):
        return
    if _is_touched(node):
        reset(node)
    write_init_config(node, parameters)
    by_hand: tuple[str, ...] = _BY_HAND
    for phase in (("certs", "all"), ("kubeconfig", "all"), ("etcd", "local"), ("control-plane", "all")):
        kubeadm(node, "init", "phase", *phase, "--config", INIT_CONFIG)
    fit_etcd(node)
    if parameters.slow:
        _start_one_by_one(node, parameters)
        by_hand += ("kubelet-start",)
    skipped = ",".join((*by_hand, *_NOT_OURS))
    kubeadm(node, "init", "--config", INIT_CONFIG, f"--skip-phases={skipped}", timeout=_INIT_LIMIT)
    node.write(CONTROL_PLANE_READY, "")


def _start_one_by_one(node: Node, parameters: KubeadmParameters) -> None:
    """Start etcd and the API server, and the controllers once it is whole.

    A controller manager that finds an API server which is not ends itself after 10 s, and then waits for its own lease.
    """
    node.run(["sh", "-c", _BE_PATIENT])
    manifests, held = "/etc/kubernetes/manifests", "/etc/kubernetes/held"
    controllers = [f"kube-{name}.yaml" for name in ("controller-manager", "scheduler")]
    node.run(["mkdir", "-p", held])
    node.run(["mv", *(f"{manifests}/{name}" for name in controllers), held])
    kubeadm(node, "init", "phase", "kubelet-start", "--config", INIT_CONFIG)
    argv = ["kubectl", "--kubeconfig", admin_conf(node, parameters), "--request-timeout=20s", "get", "--raw", "/readyz"]

    def whole() -> bool:
        done = node.run(argv, check=False)
        if done.returncode != 0:
            raise Pending((done.stderr.strip().splitlines() or ["no answer"])[-1])
        return True

    wait_until(
        whole,
        what="the API server",
        timeout=parameters.control_plane_timeout,
        interval=3,
        hint=command("logs", cluster=parameters.cluster),
    )
    node.run(["mv", *(f"{held}/{name}" for name in controllers), manifests])
    node.run(["rmdir", held])


@contextmanager
def ticket(first: Node, parameters: KubeadmParameters) -> Iterator[JoinTicket]:
    """A right to join for the length of the block, signed in ``cluster-info`` before it begins.

    Args:
        first: a control plane that runs.
        parameters: the cluster.
    """
    made = make_ticket(first, parameters)
    try:
        argv = ["-n", "kube-public", "get", "configmap", "cluster-info", "-o", "json"]
        signature = f'"jws-kubeconfig-{made.identity}"'
        wait_until(
            lambda: signature in kubectl(first, *argv, check=False),
            what="the join token to be signed",
            timeout=300 if parameters.slow else 60,
            interval=0.2,
        )
        yield made
    finally:
        first.run(["kubeadm", "token", "delete", made.identity, "--kubeconfig", ADMIN_CONF], check=False)


def join_worker(first: Node, node: Node, parameters: KubeadmParameters, right: JoinTicket) -> None:
    """Join ``node`` as a worker; what an earlier machine of that name left in the API is cleared. Joined already: no effect.

    Args:
        first: a control plane that runs.
        node: the machine.
        parameters: the cluster.
        right: from ``ticket``.
    """
    if node.run(["test", "-s", KUBELET_CONF], check=False).returncode == 0:
        return
    forget_node(first, node.name)
    join(node, parameters, right, skip=("preflight",))


def join_control_plane(first: Node, node: Node, parameters: KubeadmParameters, right: JoinTicket) -> None:
    """Join ``node`` as one more control plane with a member of etcd. There already: no effect.

    Args:
        first: a control plane that runs.
        node: the machine; what a killed join left on it, in etcd and in the API is cleared first.
        parameters: the cluster; its endpoint must be an address that control planes share.
        right: from ``ticket``.
    """
    if is_control_plane(node):
        return
    remove_member(first, node.name)
    forget_node(first, node.name)
    if _is_touched(node):
        reset(node)
    key = secrets.token_hex(32)
    _upload_certificates(first, parameters, key)
    documents = join_documents(parameters, name=node.name, address=node.address, ticket=right, control_plane=key)
    node.write(JOIN_CONFIG, documents, mode=0o600)
    with fitting_etcd(node):
        kubeadm(node, *join_arguments(("preflight",)), timeout=_INIT_LIMIT)
    node.run(["rm", "-f", JOIN_CONFIG])
    node.write(CONTROL_PLANE_READY, "")


def renew_watches(planes: Sequence[Node]) -> None:
    """Start the control plane's programs on ``planes`` anew; kubelets bring them back at once.

    While etcd gains a member it has no leader for seconds. What watched the API through that may never hear of anything
    again (seen with 1.20.2: no endpoints were made, and kube-proxy knew of no new service).

    Args:
        planes: those that were there before the last member came; the API of that one answers meanwhile.
    """
    for node in planes:
        node.run(["pkill", "-x", "kube-apiserver|kube-controller|kube-scheduler"], check=False)


def note_watches(first: Node, *, due: bool) -> None:
    """Note on ``first`` whether ``renew_watches`` is still to be done: a kill before it must not be the end of it."""
    if due:
        first.write(_WATCHES_DUE, "")
    else:
        first.run(["rm", "-f", _WATCHES_DUE])


def watches_due(first: Node) -> bool:
    """Whether a control plane joined, and what watched the API before was not started anew since."""
    return first.run(["test", "-e", _WATCHES_DUE], check=False).returncode == 0


def restart_programs(planes: Sequence[Node]) -> None:
    """Let the control plane's programs on ``planes``, etcd too, read their credentials anew; kubelets bring them back."""
    for node in planes:
        node.run(["pkill", "-x", "etcd|kube-apiserver|kube-controller|kube-scheduler"], check=False)


def release_leases(first: Node) -> None:
    """Let somebody lead at once after ``renew_watches``, who would wait 15 s for what was ended."""
    for lease in ("kube-controller-manager", "kube-scheduler"):
        kubectl(first, "-n", "kube-system", "delete", "lease", lease, "--ignore-not-found", check=False)


def _upload_certificates(first: Node, parameters: KubeadmParameters, key: str) -> None:
    """Put the control plane's certificates into the cluster, encrypted, for two hours."""
    documents = init_documents(parameters, name=first.name, address=first.address)
    head, separator, rest = documents.partition("---\n")
    init_configuration = {**json.loads(head), "certificateKey": key}  # beside --config, no flag may hold it
    first.write(_UPLOAD_CONFIG, json.dumps(init_configuration) + "\n" + separator + rest, mode=0o600)
    try:
        kubeadm(first, "init", "phase", "upload-certs", "--upload-certs", "--config", _UPLOAD_CONFIG)
    finally:
        first.run(["rm", "-f", _UPLOAD_CONFIG])


def drain(first: Node, name: str) -> None:
    """Move the pods of node ``name`` elsewhere, as far as they can be moved within two minutes."""
    argv = ["drain", name, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=90s"]
    kubectl(first, *argv, timeout=120.0, check=False)


def forget_node(first: Node, name: str) -> None:
    """Delete the API's object of node ``name``; it need not be there."""
    kubectl(first, "delete", "node", name, "--ignore-not-found", timeout=60.0)


def remove_member(first: Node, name: str) -> None:
    """Remove etcd's member called ``name``, asking the etcd on ``first``; it need not be there."""
    if name == first.name:
        return
    for line in _etcdctl(first, "member", "list").splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) >= 3 and (fields[2] == name or (fields[1] == "unstarted" and not fields[2])):
            _etcdctl(first, "member", "remove", fields[0])


def _etcdctl(first: Node, *arguments: str) -> str:
    """What etcdctl prints in the etcd on ``first``; tried again for a minute.

    The API knows of that etcd only a moment after it runs, and etcd changes no members right after another change.
    """
    directory = f"{PKI}/etcd"
    argv = (
        "-n", "kube-system", "exec", f"etcd-{first.name}", "--",
        "etcdctl", "--endpoints=https://127.0.0.1:2379", f"--cacert={directory}/ca.crt",
        f"--cert={directory}/server.crt", f"--key={directory}/server.key", *arguments,
    )  # fmt: skip

    def told() -> tuple[str]:
        try:
            return (kubectl(first, *argv),)
        except CommandError as exc:
            raise Pending(exc.message.rstrip(".")) from exc

    return wait_until(told, what=f"etcd on {first.name}", timeout=_ETCD_LIMIT, interval=0.5)[0]


def reset(node: Node) -> None:
    """Take everything of Kubernetes off the machine; images stay. What kubeadm cannot reset is removed by hand."""
    node.run(["kubeadm", "reset", "--force", "--cri-socket", RUNTIME_ENDPOINT], timeout=180.0, check=False)
    node.run(["sh", "-c", _CLEAR], timeout=60.0)


_CLEAR = f"""
systemctl stop kubelet 2>/dev/null
rm -rf /etc/kubernetes/manifests/* {PKI} /etc/kubernetes/*.conf {INIT_CONFIG} {JOIN_CONFIG} {CONTROL_PLANE_READY} \
  /var/lib/etcd/* /var/lib/kubelet/pki /var/lib/kubelet/config.yaml /var/lib/kubelet/kubeadm-flags.env
ip link delete cni0 2>/dev/null
exit 0
"""


def kubectl(node: Node, *arguments: str, input: str | None = None, timeout: float = 60.0, check: bool = True) -> str:
    """Run kubectl as the cluster's administrator on a control plane and return what it printed."""
    argv = ["kubectl", "--kubeconfig", ADMIN_CONF, *arguments]
    return node.run(argv, input=input, timeout=timeout, check=check).stdout


def _is_touched(node: Node) -> bool:
    """Whether a kubeadm has run here before."""
    return node.run(["test", "-e", PKI, "-o", "-e", KUBELET_CONF], check=False).returncode == 0
