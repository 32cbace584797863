"""How long a cluster's certificates are good for by the clock of today, and new ones where they ran out.

A cluster that was off for a year, or whose host's clock was moved, has certificates that nobody accepts any more: none of
its programs would say so in words that a user could act on. Knows nodes, not drivers: what runs has to be started anew by
the driver.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from localk8s.kubeadm.parameters import KUBELET_CONF, PKI
from localk8s.kubeadm.phases import INIT_CONFIG, kubeadm, take_secret, write_user_kubeconfig
from localk8s.model.errors import CommandError, PrerequisiteError, WrongStateError
from localk8s.model.hints import command
from localk8s.model.node import Node

_MARGIN = timedelta(days=30)
"""What runs out so soon is made anew at a start: kubelets renew their own long before, all else only here."""
_EXPIRES = re.compile(r"\b([A-Z][a-z]{2} \d{2}, \d{4} \d{2}:\d{2}) UTC\b")
"""How ``kubeadm certs check-expiration`` prints an instant (the same from 1.20 to 1.36)."""
_KUBELET_CERTIFICATES = "/var/lib/kubelet/pki/kubelet-client-*.pem"


def check_clock(authority: str, cluster: str, now: datetime) -> None:
    """Refuse a clock by which the cluster's own authority is not valid, and with it nothing that it signed.

    What cannot be read is no reason to refuse: who needs it will say so.

    Args:
        authority: the certificate authority, PEM.
        cluster: the cluster's name, for the hint.
        now: what the clock says; timezone-aware.

    Raises:
        PrerequisiteError: the clock is before the authority's first moment.
        WrongStateError: its last moment (ten years later) has passed.
    """
    try:
        first, last = _lifetime(authority)
    except (ssl.SSLError, ValueError, IndexError):
        return
    if now < first:
        raise PrerequisiteError(
            f"The clock says {_said(now)}, but the cluster's certificates only begin at {_said(first)}.",
            hint=f"{command('start', cluster=cluster)}  # once the clock is right",
        )
    if now > last:
        raise WrongStateError(
            f"The clock says {_said(now)}, but the cluster's own certificate authority ended at {_said(last)}.",
            hint=f"{command('delete', cluster=cluster)} && {command('start', cluster=cluster)}",
        )


def ends_soon(node: Node, now: datetime) -> bool:
    """Whether a certificate of the control plane on ``node`` has run out, or does within 30 days of ``now``; no, if unsure."""
    try:
        printed = kubeadm(node, "certs", "check-expiration", "--config", INIT_CONFIG)
    except CommandError:
        return False  # whoever needs them says what is wrong with them
    ends = [datetime.strptime(text, "%b %d, %Y %H:%M").replace(tzinfo=UTC) for text in _EXPIRES.findall(printed)]
    return any(end < now + _MARGIN for end in ends)


def renew_control_plane(node: Node) -> None:
    """Make every certificate and kubeconfig of the control plane on ``node`` anew, signed by the cluster's authority."""
    kubeadm(node, "certs", "renew", "all", "--config", INIT_CONFIG)


def renew_proxy(first: Node) -> str:
    """A new kubeconfig for kube-proxy, where that is a program of the node; ``first`` is a control plane, which signs."""
    made = f"{PKI}/localk8s-kube-proxy.conf"
    write_user_kubeconfig(first, "system:kube-proxy", made)
    return take_secret(first, made)


def renew_kubelets(first: Node, nodes: Sequence[Node]) -> None:
    """Give every kubelet a certificate that is valid now; from then on it renews its own again.

    Args:
        first: a control plane, which signs.
        nodes: whose kubelets; ``first`` may be one of them. They have to be started anew afterwards.
    """
    for node in nodes:
        made = f"{PKI}/localk8s-{node.name}.conf"
        write_user_kubeconfig(first, f"system:node:{node.name}", made, group="system:nodes")
        node.write(KUBELET_CONF, take_secret(first, made), mode=0o600)
        node.run(["sh", "-c", f"rm -f {_KUBELET_CERTIFICATES}"])


def _lifetime(authority: str) -> tuple[datetime, datetime]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority)
    found = context.get_ca_certs()[0]
    first, last = (ssl.cert_time_to_seconds(str(found[key])) for key in ("notBefore", "notAfter"))
    return datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last, UTC)


def _said(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"
