"""Pod networks that others make: which release, what of its manifest must fit the cluster. Pure but for reading a file.

localk8s holds neither their manifests nor their images: the user gives the manifest, machines fetch the images.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from localk8s.drivers.vagrant.options import PodNetwork
from localk8s.kubeadm.parameters import ClusterNetwork
from localk8s.model.errors import UsageError
from localk8s.model.hints import instead

MANIFEST = "cni-manifest"
"""The option that names the file."""
_LARGEST = 4 << 20
_MOST_VALUES = 1_000_000
_SOME = ClusterNetwork(IPv4Network("192.0.2.0/24"), IPv4Network("198.18.0.0/16"), IPv4Network("198.19.0.0/16"))
"""Ranges to try a manifest with, before the cluster has its own."""


@dataclass(frozen=True, slots=True)
class Release:
    """A release of a pod network that localk8s was written against."""

    version: str
    url: str
    """Of its manifest."""


RELEASES: Mapping[PodNetwork, Release] = {
    PodNetwork.FLANNEL: Release("v0.27.4", "https://github.com/flannel-io/flannel/releases/download/v0.27.4/kube-flannel.yml"),
    PodNetwork.CALICO: Release(
        "v3.30.2", "https://raw.githubusercontent.com/projectcalico/calico/v3.30.2/manifests/calico.yaml"
    ),
}


def how_to_get(network: PodNetwork) -> str:
    """A command line that fetches the manifest, and the option that names it."""
    release = RELEASES[network]
    file = release.url.rpartition("/")[2]
    return instead("--driver-option", f"{MANIFEST}={file}", after=shlex.join(["curl", "-fLO", release.url]))


def read_manifest(network: PodNetwork, path: str) -> str:
    """The user's manifest, adapted to no cluster yet.

    Raises:
        UsageError: none was named, it cannot be read, or it is not what it should be.
    """
    if not path:
        raise UsageError(
            f"localk8s has no manifest of {network.value}: --driver-option {MANIFEST}=FILE names one "
            f"(written against {RELEASES[network].version}).",
            hint=how_to_get(network),
        )
    try:
        file = Path(path)
        text = file.read_text(encoding="utf-8") if file.stat().st_size <= _LARGEST else ""
    except (OSError, ValueError) as exc:
        why = exc.strerror.lower() if isinstance(exc, OSError) and exc.strerror else "it is no text"
        raise UsageError(f"{MANIFEST}={path} cannot be read: {why}.", hint=how_to_get(network)) from exc
    adapt(network, text, _SOME)
    return text


def adapt(network: PodNetwork, text: str, ranges: ClusterNetwork) -> str:
    """The manifest with the cluster's pod range, and with each machine's card chosen by the address that its node has.

    Args:
        network: whose manifest it is.
        text: YAML documents.
        ranges: of the cluster.

    Returns:
        one JSON list for ``kubectl apply``.

    Raises:
        UsageError: it is no such manifest.
    """
    import yaml

    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        documents = [document for document in yaml.load_all(text, Loader=loader) if document]
        _count(documents, 0)
        _ADAPTERS[network](documents, ranges)
    except (yaml.YAMLError, RecursionError, StopIteration, LookupError, TypeError, AttributeError, ValueError) as exc:
        raise UsageError(f"The file is no manifest of {network.value}.", hint=how_to_get(network)) from exc
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}, default=str)


def _count(value: Any, seen: int) -> int:
    """How many values there are, those that are named twice counted twice: a few lines of YAML can mean billions."""
    if seen > _MOST_VALUES:
        raise ValueError("too many values")
    children = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    for child in children:
        seen = _count(child, seen + 1)
    return seen


def _flannel(documents: list[MutableMapping[str, Any]], ranges: ClusterNetwork) -> None:
    data = _one(documents, "ConfigMap", "kube-flannel-cfg")["data"]
    data["net-conf.json"] = json.dumps({**json.loads(data["net-conf.json"]), "Network": str(ranges.pods)})
    container = _container(_one(documents, "DaemonSet", "kube-flannel-ds"), "kube-flannel")
    container["args"] = [argument for argument in container["args"] if not argument.startswith("--iface")]
    container["args"].append("--iface=$(LOCALK8S_NODE_ADDRESS)")
    address = {"name": "LOCALK8S_NODE_ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}
    container["env"] = [address, *_without(container["env"], "LOCALK8S_NODE_ADDRESS")]


def _calico(documents: list[MutableMapping[str, Any]], ranges: ClusterNetwork) -> None:
    container = _container(_one(documents, "DaemonSet", "calico-node"), "calico-node")
    wanted = {"CALICO_IPV4POOL_CIDR": str(ranges.pods), "IP": "autodetect", "IP_AUTODETECTION_METHOD": "kubernetes-internal-ip"}
    added = [{"name": name, "value": value} for name, value in wanted.items()]
    container["env"] = [*_without(container["env"], *wanted), *added]


_ADAPTERS: Mapping[PodNetwork, Callable[[list[MutableMapping[str, Any]], ClusterNetwork], None]] = {
    PodNetwork.FLANNEL: _flannel,
    PodNetwork.CALICO: _calico,
}


def _one(documents: list[MutableMapping[str, Any]], kind: str, name: str) -> MutableMapping[str, Any]:
    return next(each for each in documents if (each["kind"], each["metadata"]["name"]) == (kind, name))


def _container(workload: MutableMapping[str, Any], name: str) -> MutableMapping[str, Any]:
    containers = workload["spec"]["template"]["spec"]["containers"]
    return next(each for each in containers if each["name"] == name)


def _without(variables: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [variable for variable in variables if variable["name"] not in names]
