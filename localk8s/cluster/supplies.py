"""What clusters are made of, as a stock: what the cache holds, what to throw away, and bundles to carry elsewhere.

Clusters keep their own copies of what they run on: throwing things away here breaks none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from localk8s.artifacts.bundle import check_target
from localk8s.artifacts.holdings import Holding
from localk8s.model.errors import NotFoundError, WrongStateError
from localk8s.model.hints import host_command
from localk8s.model.progress import Reporter
from localk8s.model.versions import KubernetesVersion
from localk8s.wiring import Installation


def write_bundle(
    installation: Installation, target: Path, version: KubernetesVersion | None, report: Reporter, *, replace: bool = False
) -> KubernetesVersion:
    """Write all that native clusters and their helpers need into one file, for ``--artifacts`` on another machine.

    Args:
        installation: whose cache and sources.
        target: ends in .tar, .tar.gz, .tar.xz or .tar.zst.
        version: of Kubernetes; the newest that can be had when None.
        report: told about the steps.
        replace: whether a file that is there may be replaced.

    Returns:
        the version of Kubernetes in it.

    Raises:
        WrongStateError: there is such a file.
        ArtifactError: something cannot be had, or the file not be written.
        UsageError: the name has another ending.
    """
    if target.exists() and not replace:
        raise WrongStateError(f"{target} is there already.", hint=host_command("bundle", "--force", str(target)))
    check_target(target)
    library = installation.library(installation.runner())
    version = version or library.newest_version(None)
    with report.step("bundle", f"packing Kubernetes {version}") as step:
        library.write_bundle(target, version, step)
        step.finish_as(f"packed Kubernetes {version}")
    return version


def holdings(installation: Installation) -> tuple[Holding, ...]:
    """What the cache holds, finished or not."""
    return installation.library(installation.runner()).holdings()


def throw_away(installation: Installation, names: Sequence[str]) -> tuple[Holding, ...]:
    """Remove entries from the cache; what is needed again is fetched or built again.

    Args:
        installation: whose cache.
        names: of the entries; all of them when empty.

    Returns:
        what went; what another process is making just now stays.

    Raises:
        NotFoundError: the cache has no such entry; nothing was removed.
    """
    library = installation.library(installation.runner())
    there = {holding.name: holding for holding in library.holdings()}
    for name in names:
        if name not in there:
            raise NotFoundError(f"The cache holds no {name}.", hint=host_command("cache list"))
    return library.remove([there[name] for name in dict.fromkeys(names)] if names else list(there.values()))
