"""Where the seven programs come from when they are not in the cache: mirror, official site, Debian, in this order.

Owns the order, and what each answer means for the next. Fills work directories; the cache is its caller's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from localk8s.artifacts.catalog import SOURCE_SUITE, SOURCE_VERSION
from localk8s.artifacts.gobuild import build_kubernetes
from localk8s.artifacts.release import ReleaseSite
from localk8s.artifacts.settings import ArtifactSettings
from localk8s.artifacts.trouble import Unavailable
from localk8s.model.errors import ArtifactError, UsageError
from localk8s.model.hints import instead
from localk8s.model.progress import Step
from localk8s.model.versions import KubernetesVersion, parse_kubernetes_version
from localk8s.system.process import HostRunner

_Fetch = Callable[[KubernetesVersion, Path, Step], None]


class Sources:
    """The sources behind the cache.

    Args:
        settings: which of them are there.
        codename: this host's Debian release; empty when it is none.
        architecture: this host's.
        runner: runs apt and go.
    """

    def __init__(self, settings: ArtifactSettings, codename: str, architecture: str, runner: HostRunner) -> None:
        self._settings = settings
        self._codename = codename
        self._arch = architecture
        self._runner = runner

    @staticmethod
    def versions(names: Iterable[str]) -> tuple[KubernetesVersion, ...]:
        """The versions among ``names``, oldest first; what is none is passed over."""
        found = []
        for name in names:
            try:
                found.append(parse_kubernetes_version(name))
            except UsageError:
                continue
        return tuple(sorted(found))

    def newest(self, cached: Iterable[KubernetesVersion]) -> KubernetesVersion:
        """The newest version that the cache or a source has; a source that does not answer in seconds is passed over.

        Args:
            cached: what the cache has.

        Raises:
            ArtifactError: there is none; the message says what each source answered.
            ConfigError: an address in the settings is none.
        """
        found, troubles = list(cached), []
        for site in self._sites():
            try:
                found.append(site.newest())
            except (Unavailable, ArtifactError) as exc:
                troubles.append(f"{site.title}: {str(exc).rstrip('.')}")
        if (given := self._debian_version) is not None:
            found.append(given)
        if not found:
            reason = "; ".join(troubles) or "the cache is empty, and no other source may be asked"
            raise ArtifactError(f"No source gives any Kubernetes: {reason}.", hint=instead("--artifacts", "DIRECTORY"))
        return max(found)

    def is_built(self, version: KubernetesVersion) -> bool:
        """Whether ``version`` would be built from Debian's source because no site is set that may have it."""
        return version == self._debian_version and not any(True for _ in self._sites())

    def fetch(self, version: KubernetesVersion, work: Path, step: Step) -> Mapping[str, str]:
        """Fill ``work/out`` with ``version`` from the first source that has it; returns what to record.

        Raises:
            ArtifactError: none has it, or a file is not what its digest says.
        """
        reasons = []
        for title, fetch in self._fetchers():
            place = work / title.replace("'", "").replace(" ", "-")
            try:
                fetch(version, place, step)
            except Unavailable as exc:
                reasons.append(f"{title}: {exc}")
                continue
            os.replace(place / "out", work / "out")
            return {"source": title}
        given = self._debian_version
        raise ArtifactError(
            f"No source gives Kubernetes {version}: it is not in the cache; {'; '.join(reasons)}.",
            hint=instead("--kubernetes-version", str(given).removeprefix("v"))
            if given
            else instead("--artifacts", "DIRECTORY"),
        )

    @property
    def _debian_version(self) -> KubernetesVersion | None:
        return SOURCE_VERSION if self._codename and not self._settings.offline else None

    def _sites(self) -> Iterator[ReleaseSite]:
        if not self._settings.offline:
            if self._settings.mirror:
                yield ReleaseSite(self._settings.mirror, "mirror", self._arch)
            if self._settings.official:
                yield ReleaseSite(self._settings.official, "official", self._arch)

    def _fetchers(self) -> Iterator[tuple[str, _Fetch]]:
        for site in self._sites():
            yield site.title, site.fetch
        yield "Debian's source package", self._build

    def _build(self, version: KubernetesVersion, work: Path, step: Step) -> None:
        if self._settings.offline:
            raise Unavailable("not asked, localk8s is set to be offline")
        if not self._codename:
            raise Unavailable("this host is not a Debian")
        if version != SOURCE_VERSION:
            raise Unavailable(f"it holds {SOURCE_VERSION} only")
        work.mkdir(parents=True, exist_ok=True)
        build_kubernetes(work, version, SOURCE_SUITE, self._arch, self._runner, step)
