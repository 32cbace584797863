"""The environment that minikube runs in: the user's own, without what would change its words or its answers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from localk8s.drivers.minikube.profile import Home

_OWN = {
    "LC_ALL": "C",
    "MINIKUBE_IN_STYLE": "false",
    "MINIKUBE_WANTUPDATENOTIFICATION": "false",
    "MINIKUBE_WANTREPORTERRORPROMPT": "false",
    "MINIKUBE_WANTNONEDRIVERWARNING": "false",
}
_DOCKER = ("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_API_VERSION", "SSH_AUTH_SOCK", "SSH_AGENT_PID")
_MARKS = ("MINIKUBE_ACTIVE_DOCKERD", "LOCALK8S_ACTIVE_DOCKER")
_SAVED = ("MINIKUBE_EXISTING_", "LOCALK8S_EXISTING_")


def minikube_environment(environment: Mapping[str, str], home: Home, kubeconfig: Path) -> dict[str, str]:
    """The variables to set for minikube; an empty one counts as not set, for minikube as for docker.

    Args:
        environment: that of this process. Every MINIKUBE_… of it is a flag in disguise, and is taken away;
            a docker-env that points into a cluster is undone, as minikube itself would have done.
        home: where minikube keeps its things.
        kubeconfig: the private file; minikube never sees the user's.
    """
    scrubbed = {name: "" for name in environment if name.startswith("MINIKUBE_")}
    return {
        **scrubbed,
        **_without_docker_env(environment),
        **_OWN,
        "MINIKUBE_HOME": str(home.root),
        "KUBECONFIG": str(kubeconfig),
    }


def _without_docker_env(environment: Mapping[str, str]) -> dict[str, str]:
    if not any(environment.get(mark) for mark in _MARKS):
        return {}
    return {
        name: next((environment[saved] for prefix in _SAVED if (saved := prefix + name) in environment), "")
        for name in _DOCKER
        if name.startswith("DOCKER_") or any(prefix + name in environment for prefix in _SAVED)
    }
