"""``minikube docker-env`` as data: asked for as JSON, believed by its exit code only, refused where it cannot work.

Renders nothing for shells (the docker-env helper does) and hands out only what was set.
"""

from __future__ import annotations

import json

from localk8s.drivers.minikube.errors import find_failure, to_error
from localk8s.drivers.minikube.profile import ProfileConfig
from localk8s.drivers.minikube.versions import MinikubeVersion
from localk8s.drivers.minikube.vm_drivers import Kind, VmDriver
from localk8s.model import hints
from localk8s.model.errors import CommandError, NotSupportedError
from localk8s.model.node import Completed

_VARIABLES = ("DOCKER_TLS_VERIFY", "DOCKER_HOST", "DOCKER_CERT_PATH", "SSH_AUTH_SOCK", "SSH_AGENT_PID")


def refuse_docker_env(profile: ProfileConfig, driver: VmDriver, version: MinikubeVersion, cluster: str) -> None:
    """Refuse where minikube's docker-env is known not to work: first for the runtime's sake, then for the driver's.

    Args:
        profile: as recorded.
        driver: the profile's.
        version: minikube's.
        cluster: localk8s's name, for the hint.

    Raises:
        NotSupportedError: with the reason and what to do instead.
    """
    hint = hints.command("image load", "IMAGE", cluster=cluster)
    runtime = "cri-o" if profile.runtime == "crio" else profile.runtime
    if runtime == "cri-o":
        raise NotSupportedError("The cluster runs on cri-o, which has no docker in it.", hint=hint)
    if runtime == "containerd" and driver.kind is Kind.NONE:
        raise NotSupportedError("The cluster runs on this host's own containerd, which has no docker in it.", hint=hint)
    if driver.kind is Kind.NONE:
        raise NotSupportedError(
            "The cluster's docker is this host's own: docker needs no variables to reach it.", hint="docker ps"
        )
    if len(profile.nodes) > 1:
        raise NotSupportedError(
            f"minikube has no docker-env for a cluster of {len(profile.nodes)} nodes: each has a docker of its own.", hint=hint
        )
    if runtime == "containerd" and (driver.name != "docker" or not version.docker_env_with_containerd):
        raise NotSupportedError(
            f"The cluster runs on containerd, and minikube {version}'s docker-env then needs its docker driver and v1.31.",
            hint=hint,
        )


def parse_docker_env(done: Completed, cluster: str) -> dict[str, str]:
    """The variables that minikube gave, without those it left empty.

    Args:
        done: ``docker-env --shell=none --output=json``, ended.
        cluster: localk8s's name, for the hint.

    Raises:
        Localk8sError: it failed; its output is never to be evaluated.
    """
    if done.returncode != 0:
        raise to_error(find_failure(done), done, doing="say how its docker is reached", cluster=cluster)
    try:
        content = json.loads(done.stdout)
        found = {name: str(content[name]) for name in _VARIABLES if content.get(name)}
    except (ValueError, AttributeError, TypeError):
        found = {}
    if "DOCKER_HOST" not in found:
        raise CommandError(
            done.argv, done.returncode, done.stdout, done.stderr, message="minikube did not say how its docker is reached."
        )
    return found
