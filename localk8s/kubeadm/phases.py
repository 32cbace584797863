"""kubeadm's phases, run on a node: certificates, kubeconfigs, control plane, tokens, joins, reset.

Knows nodes, not drivers: a node is whatever runs commands. Each function is safe to call again, also when the
call before was killed half-way. What is rendered stands in ``documents`` and ``component_config``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from localk8s.kubeadm.component_config import kubelet_configuration, proxy_configuration
from localk8s.kubeadm.documents import init_documents, join_documents
from localk8s.kubeadm.parameters import (
    ADMIN_CONF,
    BOOTSTRAP_CONF,
    KUBELET_CONF,
    KUBELET_CONFIG,
    PKI,
    PROXY_CONF,
    SUPER_ADMIN_CONF,
    JoinTicket,
    KubeadmParameters,
)
from localk8s.model.errors import CommandError, KubernetesError
from localk8s.model.hints import command
from localk8s.model.node import Node

INIT_CONFIG = "/etc/kubernetes/localk8s-init.yaml"
JOIN_CONFIG = "/etc/kubernetes/localk8s-join.yaml"
PROXY_CONFIG = "/etc/kubernetes/kube-proxy.yaml"
KUBELET_RECORD = "/etc/kubernetes/localk8s-kubelet.yaml"
"""The kubelet's configuration as it was rendered last."""
CREDENTIALS_READY = "/etc/kubernetes/localk8s-credentials"
"""Exists once every certificate and kubeconfig of the control plane is whole."""

_PHASE_LIMIT = 120.0
_TICKET = "/etc/kubernetes/localk8s-ticket"


def kubeadm(node: Node, *arguments: str, timeout: float = _PHASE_LIMIT, into: str = "") -> str:
    """Run kubeadm on ``node`` and return what it printed; ``into`` keeps it in a file of the node that root alone reads.

    Raises:
        CommandError: with kubeadm's own complaint as its sentence.
    """
    keep = ["sh", "-c", f'umask 077; exec "$0" "$@" >{into}'] if into else []
    try:
        return node.run([*keep, "kubeadm", *arguments], timeout=timeout).stdout
    except CommandError as exc:
        if exc.returncode is None:
            raise
        raise CommandError(
            exc.argv,
            exc.returncode,
            exc.stdout,
            exc.stderr,
            message=f"kubeadm {' '.join(arguments[:3])} failed on node {node.name}: {complaint(exc.stderr)}",
        ) from exc


def complaint(output: str) -> str:
    """The line of kubeadm's output that says what is wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("To see the stack trace", "W", "I0", "I1"))]
    return (telling or lines or ["no reason given"])[-1]


def write_init_config(node: Node, parameters: KubeadmParameters) -> None:
    """Write what ``init`` and its phases read."""
    node.write(INIT_CONFIG, init_documents(parameters, name=node.name, address=node.address), mode=0o600)


def has_credentials(node: Node) -> bool:
    """Whether the control plane's certificates and kubeconfigs are there and whole."""
    return node.run(["test", "-e", CREDENTIALS_READY], check=False).returncode == 0


def create_credentials(node: Node, parameters: KubeadmParameters) -> None:
    """Make certificates and kubeconfigs of a control plane by phases, whole or not at all.

    A killed kubeadm can leave half a file, which the next one would trust: everything is made in a directory of
    its own and moved into place at the end.
    """
    if has_credentials(node):
        return
    partial, config = "/etc/kubernetes/partial", "/etc/kubernetes/partial/init.yaml"
    node.run(["rm", "-rf", partial, PKI])
    documents = init_documents(parameters, name=node.name, address=node.address, certificates=f"{partial}/pki")
    node.write(config, documents, mode=0o600)
    kubeadm(node, "init", "phase", "certs", "all", "--config", config)
    node.run(["mv", f"{partial}/pki", PKI])
    write_init_config(node, parameters)
    kubeadm(node, "init", "phase", "kubeconfig", "all", "--config", INIT_CONFIG, "--kubeconfig-dir", partial)
    write_user_kubeconfig(node, "system:kube-proxy", f"{partial}/kube-proxy.conf")
    node.write(PROXY_CONFIG, json.dumps(proxy_configuration(parameters, name=node.name)))
    node.run(["sh", "-c", f"mv {partial}/*.conf /etc/kubernetes/ && rm -r {partial} && : > {CREDENTIALS_READY}"])


def write_user_kubeconfig(node: Node, user: str, target: str, *, group: str = "") -> None:
    """Write a kubeconfig for ``user``, signed by the cluster's authority (``kubeadm alpha`` in 1.20).

    On the node itself, so that no log sees the key.

    Args:
        node: a control plane with ``INIT_CONFIG``.
        user: the name in the certificate.
        target: path on the node; made with mode 0600.
        group: the organization in the certificate; empty for none.
    """
    organization = f" --org {group}" if group else ""
    arguments = f"kubeconfig user --client-name {user}{organization} --config {INIT_CONFIG}"
    script = f"umask 077; kubeadm {arguments} >{target} 2>/dev/null || kubeadm alpha {arguments} >{target}"
    node.run(["sh", "-c", script], timeout=_PHASE_LIMIT)


def read_secret(node: Node, path: str) -> str:
    """The text of the node's file ``path``, copied as a file, so that no log sees it."""
    with TemporaryDirectory(prefix="localk8s-") as directory:
        local = Path(directory) / "secret"
        node.copy_out(path, local)
        return local.read_text(encoding="utf-8")


def take_secret(node: Node, path: str) -> str:
    """As ``read_secret``; the node's file is gone afterwards."""
    text = read_secret(node, path)
    node.run(["rm", "-f", path])
    return text


def start_kubelet_files(node: Node) -> None:
    """Write the kubelet's configuration and flags on the first control plane; whoever supervises it starts it then."""
    kubeadm(node, "init", "phase", "kubelet-start", "--config", INIT_CONFIG)


def needs_kubelet_restart(node: Node, parameters: KubeadmParameters) -> bool:
    """Give a node that was set up before the configuration of today; True when its kubelet has to read it anew."""
    wanted = json.dumps(kubelet_configuration(parameters), indent=1, sort_keys=True) + "\n"
    recorded = node.run(["cat", KUBELET_RECORD], check=False).stdout
    if recorded == wanted:
        return False
    if recorded:
        node.write(KUBELET_CONFIG, wanted)
    node.write(KUBELET_RECORD, wanted)
    return bool(recorded)


def admin_conf(node: Node, parameters: KubeadmParameters) -> str:
    """Path on the node of a kubeconfig that is powerful before any binding exists (super-admin.conf from 1.29 on)."""
    return SUPER_ADMIN_CONF if parameters.at_least(29) else ADMIN_CONF


def publish_configuration(node: Node, parameters: KubeadmParameters) -> None:
    """After the API answers: the administrators' binding, the uploaded configuration, bootstrap rules, labels.

    With these, ``kubeadm join`` by hand works too.
    """
    conf = admin_conf(node, parameters)
    if parameters.at_least(29):
        bind_administrators(node, conf)
    for phase in (("bootstrap-token",), ("upload-config", "all"), ("mark-control-plane",)):
        arguments = ("init", "phase", *phase, "--config", INIT_CONFIG)
        # mark-control-plane takes no kubeconfig: it reads admin.conf, which has its power by now
        kubeadm(node, *arguments, *(() if phase[0] == "mark-control-plane" else ("--kubeconfig", conf)))


def bind_administrators(node: Node, conf: str) -> None:
    """Give admin.conf its power: group ``kubeadm:cluster-admins`` is bound by ``kubeadm init``, but by no phase."""
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "kubeadm:cluster-admins"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "kubeadm:cluster-admins"}],
    }
    node.run(["kubectl", "--kubeconfig", conf, "apply", "-f", "-"], input=json.dumps(binding), timeout=_PHASE_LIMIT)


def make_ticket(node: Node, parameters: KubeadmParameters) -> JoinTicket:
    """Create a bootstrap token that lives for an hour. It is never an argument, nor printed: no log and no process list has it.

    Raises:
        CommandError: kubeadm made none; with its complaint.
        KubernetesError: kubeadm did not say how to join.
    """
    conf = admin_conf(node, parameters)
    text = ("--description", "made by localk8s", "--print-join-command")
    kubeadm(node, "token", "create", "--ttl", "1h", "--kubeconfig", conf, *text, into=_TICKET)
    printed = take_secret(node, _TICKET)
    token = re.search(r"--token ([a-z0-9]{6}\.[a-z0-9]{16})", printed)
    authority = re.search(r"sha256:[0-9a-f]{64}", printed)
    if not token or not authority:
        raise KubernetesError(
            "kubeadm made a token without saying how to join.", hint=command("logs", cluster=parameters.cluster)
        )
    return JoinTicket(token[1], authority[0])


def has_joined(node: Node) -> bool:
    """Whether the node's kubelet has credentials of its own."""
    return node.run(["test", "-s", KUBELET_CONF], check=False).returncode == 0


def join(node: Node, parameters: KubeadmParameters, ticket: JoinTicket, *, skip: Sequence[str] = ()) -> None:
    """Join ``node`` as a worker; what a killed join left is cleared first. Joined already: no effect.

    The ticket should be signed in ``cluster-info`` by now: kubeadm looks at once, and then every 5 s.

    Args:
        node: the machine.
        parameters: the cluster.
        ticket: from ``make_ticket``.
        skip: phases of ``kubeadm join`` that do not apply (``preflight`` where localk8s made the machine).
    """
    if has_joined(node):
        return
    prepare_join(node, parameters, ticket)
    kubeadm(node, *join_arguments(skip), timeout=300.0)
    node.run(["rm", "-f", JOIN_CONFIG])


def prepare_join(node: Node, parameters: KubeadmParameters, ticket: JoinTicket) -> None:
    """Clear what a killed join left and write what the next one reads."""
    node.run(["rm", "-f", BOOTSTRAP_CONF, f"{PKI}/ca.crt"])
    documents = join_documents(parameters, name=node.name, address=node.address, ticket=ticket)
    node.write(JOIN_CONFIG, documents, mode=0o600)


def join_arguments(skip: Sequence[str] = ()) -> tuple[str, ...]:
    """Arguments of kubeadm for a prepared join."""
    return ("join", "--config", JOIN_CONFIG, *((f"--skip-phases={','.join(skip)}",) if skip else ()))


def give_proxy_credentials(node: Node, parameters: KubeadmParameters, proxy_conf: str) -> None:
    """Write kube-proxy's kubeconfig and configuration where it runs as a process of the node."""
    node.write(PROXY_CONFIG, json.dumps(proxy_configuration(parameters, name=node.name)))
    node.write(PROXY_CONF, proxy_conf, mode=0o600)
