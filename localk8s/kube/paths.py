"""Where objects live in the Kubernetes API: URL paths from group, version, resource and names. Pure, no I/O.

The standard library alone: it is part of the DNS image (see ``dns_feed``).
"""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from localk8s.model.errors import UsageError


class Resource(NamedTuple):
    """How a kind is spelled in a path."""

    plural: str
    """``deployments``."""
    namespaced: bool


_NAMESPACED = {
    "v1": "ConfigMap Endpoints Event PersistentVolumeClaim Pod ReplicationController ResourceQuota Secret Service"
    " ServiceAccount",
    "apps/v1": "DaemonSet Deployment ReplicaSet StatefulSet",
    "batch/v1": "Job",
    "coordination.k8s.io/v1": "Lease",
    "networking.k8s.io/v1": "Ingress NetworkPolicy",
    "rbac.authorization.k8s.io/v1": "Role RoleBinding",
}
_CLUSTER_WIDE = {
    "v1": "Namespace Node PersistentVolume",
    "certificates.k8s.io/v1": "CertificateSigningRequest",
    "rbac.authorization.k8s.io/v1": "ClusterRole ClusterRoleBinding",
    "storage.k8s.io/v1": "StorageClass",
}


def known_resource(api_version: str, kind: str) -> Resource | None:
    """The spelling of the usual kinds; None when the API server has to be asked.

    Args:
        api_version: as in a manifest: ``v1``, ``apps/v1``.
        kind: as in a manifest: ``Deployment``.
    """
    for table, namespaced in ((_NAMESPACED, True), (_CLUSTER_WIDE, False)):
        if kind in table.get(api_version, "").split():
            return Resource(_plural(kind), namespaced)
    return None


def _plural(kind: str) -> str:
    lower = kind.lower()
    if lower.endswith("cy"):
        return f"{lower[:-1]}ies"
    if lower == "endpoints":
        return lower
    return f"{lower}es" if lower.endswith("s") else f"{lower}s"


def api_path(
    api_version: str,
    resource: str = "",
    *,
    namespace: str = "",
    name: str = "",
    subresource: str = "",
    **query: str | int | bool,
) -> str:
    """The path of a group, a list, an object or a part of an object.

    Args:
        api_version: ``v1`` for the core group, else ``group/version``.
        resource: the plural in lower case: ``pods``; empty for the group itself (discovery).
        namespace: empty for cluster-wide objects and for lists over all namespaces.
        name: the object; empty for the list.
        subresource: ``log``, ``status``, ``scale``, …
        query: what follows the question mark; values that are empty or False are left out.
    """
    parts = ["apis" if "/" in api_version else "api", *api_version.split("/")]
    if namespace:
        parts += ["namespaces", namespace]
    parts += [part for part in (resource, name, subresource) if part]
    path = "/" + "/".join(quote(part, safe="") for part in parts)
    return with_query(path, **query)


def with_query(path: str, **query: str | int | bool) -> str:
    """``path`` with ``query`` added; values that are empty or False are left out, True is spelled ``true``."""
    wanted = {key: "true" if value is True else value for key, value in query.items() if value not in ("", False)}
    if not wanted:
        return path
    return f"{path}{'&' if '?' in path else '?'}{urlencode(wanted)}"


def object_path(manifest: dict[str, Any], resource: Resource) -> str:
    """The path of the object that ``manifest`` describes; namespaced ones without a namespace go to ``default``.

    Raises:
        UsageError: the manifest has no name.
    """
    metadata = manifest.get("metadata") or {}
    name = metadata.get("name") or ""
    if not name:
        raise UsageError(f"A manifest of kind {manifest.get('kind')!r} has no metadata.name.")
    namespace = (metadata.get("namespace") or "default") if resource.namespaced else ""
    return api_path(str(manifest.get("apiVersion")), resource.plural, namespace=namespace, name=name)
