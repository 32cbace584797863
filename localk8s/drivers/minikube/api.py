"""What the cluster's API says about its nodes, asked once and quickly through the private kubeconfig."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localk8s.drivers.minikube.kubeconfig import read_kubeconfig
from localk8s.model.errors import Localk8sError


@dataclass(frozen=True, slots=True)
class ApiView:
    """What the API said."""

    nodes: Sequence[Mapping[str, Any]] | None
    """None when it did not answer."""
    endpoint: str
    """Its URL; empty when there is no kubeconfig."""
    reason: str = ""
    """Why it did not answer."""

    @property
    def refused(self) -> bool:
        """Whether nobody listens there, which is known at once, and not for want of time."""
        return "refused the connection" in self.reason


def ask_api(kubeconfig: Path, profile: str, cluster: str, *, timeout: float) -> ApiView:
    """The nodes that the API knows. Never raises: no answer is an answer.

    Args:
        kubeconfig: the private one.
        profile: its context.
        cluster: localk8s's name, for the reason.
        timeout: seconds.
    """
    from localk8s.kube.paths import api_path
    from localk8s.kube.rest import RestClient

    endpoint = ""
    try:
        text = read_kubeconfig(kubeconfig, profile, cluster)
        with contextlib.closing(RestClient.from_kubeconfig(text, timeout=timeout)) as client:
            endpoint = client.endpoint.url
            return ApiView(client.get(api_path("v1", "nodes"))["items"], endpoint)
    except (Localk8sError, KeyError, TypeError) as exc:
        return ApiView(None, endpoint, str(exc).rstrip("."))


def live_address(node: Mapping[str, Any] | None) -> str:
    """The IPv4 address that the kubelet reports now, which may be another than the one that was saved."""
    addresses = ((node or {}).get("status") or {}).get("addresses") or ()
    return next(
        (str(item["address"]) for item in addresses if item.get("type") == "InternalIP" and ":" not in item["address"]), ""
    )
