"""Which minikube this is, and what that release does differently. Pure: parses what ``minikube version -o json`` prints.

Must not run anything (``tool`` does). Every difference between releases that localk8s acts on is a property here.
"""

from __future__ import annotations

import json
import re

from localk8s.model.errors import PrerequisiteError
from localk8s.model.versions import Release

SETUP_HINT = "localk8s setup --driver minikube"


class MinikubeVersion(Release):
    """A release of minikube."""

    __slots__ = ()

    @property
    def status_may_be_null(self) -> bool:
        """``status -o json`` prints ``null`` when a machine is gone (before: ``"Host":"Nonexistent"``)."""
        return self >= MinikubeVersion(1, 35, 0)

    @property
    def docker_env_with_containerd(self) -> bool:
        """``docker-env`` works on containerd, with the docker driver only."""
        return self >= MinikubeVersion(1, 31, 0)

    @property
    def several_control_planes(self) -> bool:
        """``start --ha`` exists."""
        return self >= MinikubeVersion(1, 33, 0)


FLOOR = MinikubeVersion(1, 29, 0)
"""The oldest release whose JSON events are not mixed with progress bars."""


def parse_version(text: str) -> MinikubeVersion | None:
    """The release meant by ``v1.38.1`` or ``1.38.1-beta.0``; None when it is no version."""
    match = re.match(r"v?(\d{1,4})\.(\d{1,4})\.(\d{1,4})(?![\d.])", text.strip(), re.ASCII)
    return MinikubeVersion(*(int(part) for part in match.groups())) if match else None


def parse_version_output(stdout: str) -> MinikubeVersion:
    """The release that printed ``stdout`` on ``version -o json``.

    Raises:
        PrerequisiteError: this is not what any minikube prints.
    """
    try:
        answer = json.loads(stdout)
        found = parse_version(str(answer["minikubeVersion"]))
    except (ValueError, KeyError, TypeError):
        found = None
    if found is None:
        raise PrerequisiteError(
            "The program called minikube does not say which version it is.",
            hint=SETUP_HINT,
            details=stdout[:2000],
        )
    return found


def require_floor(version: MinikubeVersion) -> None:
    """Refuse what is too old.

    Raises:
        PrerequisiteError: ``version`` is below the floor.
    """
    if version < FLOOR:
        raise PrerequisiteError(f"minikube {version} is too old: localk8s needs {FLOOR} or newer.", hint=SETUP_HINT)


def newest_supported_kubernetes(stdout: str, *, newest_minor: int) -> str | None:
    """The newest released Kubernetes in what ``config defaults kubernetes-version`` prints; None when it names none.

    Args:
        stdout: a JSON list, or the lines for people of releases without one; release candidates are passed over.
        newest_minor: versions beyond this minor of Kubernetes 1 are not known to localk8s and passed over.
    """
    found = {
        (int(match[1]), int(match[2]), int(match[3]))
        for match in re.finditer(r"v(\d+)\.(\d+)\.(\d+)(?![-.\w])", stdout, re.ASCII)
    }
    usable = [version for version in found if version[0] == 1 and version[1] <= newest_minor]
    return "v" + ".".join(str(part) for part in max(usable)) if usable else None
