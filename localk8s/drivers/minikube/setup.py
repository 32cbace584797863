"""``setup --driver minikube``: a pinned minikube, checked by its digest, in localk8s's own folder of programs.

An installed minikube that is new enough is left as it is, and used.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from localk8s.artifacts.minikube_release import OFFICIAL, MinikubeRelease, fetch_minikube
from localk8s.drivers.minikube.tool import Minikube, candidates
from localk8s.drivers.minikube.versions import FLOOR, MinikubeVersion, parse_version
from localk8s.model.errors import ArtifactError, ConfigError, Localk8sError
from localk8s.model.progress import Reporter
from localk8s.system.host import HostFacts
from localk8s.system.process import HostRunner

PINNED = MinikubeVersion(1, 38, 1)
"""The release that this driver was written against."""


def install(
    runner: HostRunner,
    tools: Path,
    settings: Mapping[str, str],
    facts: HostFacts,
    environment: Mapping[str, str],
    report: Reporter,
    *,
    offline: bool,
) -> None:
    """Have a usable minikube on this host.

    Args:
        runner: runs it, to hear its version.
        tools: where it is put.
        settings: of the configuration's section; ``release-mirror`` is asked first, ``release-version`` and
            ``release-sha256`` say which one.
        facts: of this host.
        environment: for PATH.
        report: told about the download.
        offline: nothing may be fetched.

    Raises:
        ArtifactError: it cannot be had, or is not what its digest says.
        ConfigError: a setting is unusable.
    """
    with report.step("minikube", "looking for minikube") as step:
        found = Minikube(runner, candidates(environment, tools, settings.get("binary", "")), {})
        try:
            step.finish_as(f"minikube {found.version} is there ({found.program})")
            return
        except Localk8sError:
            pass  # none, or none that is new enough
        if offline:
            hint = "LOCALK8S_OFFLINE=0 localk8s setup --driver minikube"
            raise ArtifactError("minikube is not on this host, and localk8s is set to be offline.", hint=hint)
        mirror = settings.get("release-mirror", "")
        target = tools / ("minikube.exe" if os.name == "nt" else "minikube")
        source = fetch_minikube(_release(settings, facts), [mirror] if mirror else [OFFICIAL], target, step)
        step.finish_as(f"minikube {Minikube(runner, [target], {}).version}" + (f" from {source}" if source else ""))


def _release(settings: Mapping[str, str], facts: HostFacts) -> MinikubeRelease:
    wanted = settings.get("release-version", str(PINNED))
    version = parse_version(wanted)
    if version is None or version < FLOOR:
        raise ConfigError(f"{wanted!r} is no release of minikube that localk8s can use: it needs {FLOOR} or newer.")
    return MinikubeRelease(str(version), facts.platform, facts.architecture, settings.get("release-sha256", ""))
