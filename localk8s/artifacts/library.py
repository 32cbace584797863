"""The artifact library: the one object that finds, fetches, builds and keeps what clusters are made of.

Construct it with::

    Library(layout.artifacts, HostRunner(log=…), ArtifactSettings(mirror=None, official=None, offline=False))

It reads no environment and no configuration by itself: the composition root hands in the settings (``offline`` also
when LOCALK8S_OFFLINE is set). Implements ``artifacts.base.Artifacts``; must not know drivers, nodes or commands.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from localk8s.artifacts.bundle import find_tools, open_named
from localk8s.artifacts.cache import Cache, Entry
from localk8s.artifacts.catalog import DEBIAN_RELEASES, architecture
from localk8s.artifacts.debian import make_tools, read_codename, tools_entry_name
from localk8s.artifacts.gobuild import build_kubernetes
from localk8s.artifacts.images import ImageMaker, own_scripts
from localk8s.artifacts.kinds import Image, ImageRole, KubernetesBinaries, NodeTools
from localk8s.artifacts.named import NamedSource
from localk8s.artifacts.release import ReleaseSite
from localk8s.artifacts.settings import ArtifactSettings
from localk8s.artifacts.trouble import Unavailable
from localk8s.model.errors import ArtifactError, UsageError
from localk8s.model.progress import Step
from localk8s.model.versions import KubernetesVersion, parse_kubernetes_version
from localk8s.system.process import HostRunner

_Fetch = Callable[[KubernetesVersion, Path, Step], None]


class Library:
    """Finds what a cluster is made of (an ``Artifacts``).

    Args:
        directory: the cache.
        runner: runs apt, go and kubeadm.
        settings: where else to look.
        machine: the machine type as the kernel names it; asked when None.
        codename: this host's Debian release, empty when it is no Debian; read from the host when None.
    """

    def __init__(
        self,
        directory: Path,
        runner: HostRunner,
        settings: ArtifactSettings,
        *,
        machine: str | None = None,
        codename: str | None = None,
    ) -> None:
        self._cache = Cache(directory.absolute())
        self._runner = runner
        self._settings = settings
        self._arch = architecture(machine or platform.machine())
        self._codename = read_codename() if codename is None else codename

    def newest_version(self, named: str | None) -> KubernetesVersion:
        """The newest Kubernetes that a source can give; fetches nothing. See ``Artifacts.newest_version``."""
        if named is not None:
            return max(item.version for item in self._named(Path(named)).all())
        found = [_version_of(name) for name in self._cache.names("kubernetes") if name.endswith(f"-{self._arch}")]
        troubles = []
        for site in self._sites():
            try:
                found.append(site.newest())
            except (Unavailable, ArtifactError) as exc:
                troubles.append(str(exc))
        if self._debian_version is not None:
            found.append(self._debian_version)
        if not found:
            raise ArtifactError(
                "No source gives any Kubernetes: "
                + ("; ".join(troubles) or "the cache is empty and nothing else may be asked")
                + ".",
                hint="localk8s start --artifacts DIRECTORY",
            )
        return max(found)

    def kubernetes(self, version: KubernetesVersion, named: str | None, step: Step) -> KubernetesBinaries:
        """The seven programs of ``version``, fetched or built if need be. See ``Artifacts.kubernetes``."""
        if named is not None:
            return self._from_named(version, Path(named), step)
        entry = self._cache.obtain(
            f"kubernetes/{version}-{self._arch}",
            f"Kubernetes {version}",
            step,
            lambda work, shared: self._fetch_kubernetes(version, work, shared),
        )
        digests = {name: record.sha256 for name, record in entry.manifest.files.items()}
        return KubernetesBinaries(version, entry.path, entry.manifest.facts.get("source", "cache"), digests=digests)

    def node_tools(self, step: Step) -> NodeTools:
        """containerd, runc, etcd, CNI plugins, runit, named and what they need. See ``Artifacts.node_tools``."""
        return NodeTools(self._tools(step).path / "node")

    def images(self, binaries: KubernetesBinaries, roles: Sequence[ImageRole], step: Step) -> tuple[Image, ...]:
        """Archives of the images for ``roles``. See ``Artifacts.images``."""
        return ImageMaker(self._cache, self._arch, own_scripts()).images(binaries, self._tools(step), roles, step)

    @property
    def _debian_version(self) -> KubernetesVersion | None:
        return None if self._settings.offline else DEBIAN_RELEASES.get(self._codename)

    def _sites(self) -> Iterator[ReleaseSite]:
        if not self._settings.offline:
            if self._settings.mirror:
                yield ReleaseSite(self._settings.mirror, "mirror", self._arch)
            if self._settings.official:
                yield ReleaseSite(self._settings.official, "official", self._arch)

    def _sources(self) -> Iterator[tuple[str, str, _Fetch]]:
        """Key, title and fetch of every source behind the cache, in order."""
        for site in self._sites():
            yield site.title, site.title, site.fetch
        yield "debian", "Debian's source package", self._build

    def _fetch_kubernetes(self, version: KubernetesVersion, work: Path, step: Step) -> Mapping[str, str]:
        reasons = []
        for key, title, fetch in self._sources():
            try:
                fetch(version, work / key, step)
            except Unavailable as exc:
                reasons.append(f"{title}: {exc}")
                continue
            os.replace(work / key / "out", work / "out")
            return {"source": title}
        given = self._debian_version
        raise ArtifactError(
            f"No source gives Kubernetes {version}: it is not in the cache; {'; '.join(reasons)}.",
            hint=f"localk8s start --kubernetes-version {given}" if given else "localk8s start --artifacts DIRECTORY",
        )

    def _build(self, version: KubernetesVersion, work: Path, step: Step) -> None:
        if self._settings.offline:
            raise Unavailable("not asked, because localk8s is set to be offline")
        given = DEBIAN_RELEASES.get(self._codename)
        if given is None:
            raise Unavailable("this host's release has no whole Kubernetes source package")
        if version != given:
            raise Unavailable(f"it holds {given} only")
        work.mkdir(parents=True, exist_ok=True)
        build_kubernetes(work, version, self._codename, self._arch, self._runner, step)

    def _named(self, path: Path) -> NamedSource:
        root = open_named(path, self._cache, self._runner)
        return NamedSource(root, self._arch, self._runner, self._cache)

    def _from_named(self, version: KubernetesVersion, path: Path, step: Step) -> KubernetesBinaries:
        step.progress(0, None, f"checking {path}")
        source = self._named(path)
        found = {item.version: item for item in source.all()}
        if version not in found:
            newest = max(found)
            raise UsageError(
                f"{path} holds Kubernetes {', '.join(str(item) for item in sorted(found))}, not {version}.",
                hint=f"localk8s start --artifacts {path} --kubernetes-version {newest}",
            )
        self._import_tools(path, step)
        item, images = found[version], source.root / "images"
        digests = {name: record.sha256 for path, record in item.digests.files.items() if (name := Path(path).name)}
        return KubernetesBinaries(version, item.directory, str(path), images if images.is_dir() else None, digests)

    def _import_tools(self, path: Path, step: Step) -> None:
        """Put the node tools that come with a bundle into the cache, where ``node_tools`` finds them."""
        name = tools_entry_name(self._arch)
        given = find_tools(open_named(path, self._cache, self._runner), name)
        if given is not None:
            self._cache.adopt(name, "the node tools", given, step)

    def _tools(self, step: Step) -> Entry:
        def make(work: Path, shared: Step) -> Mapping[str, str]:
            try:
                if self._settings.offline:
                    raise Unavailable("localk8s is set to be offline")
                return make_tools(work, self._codename, self._runner, shared)
            except Unavailable as exc:
                raise ArtifactError(
                    f"The node tools (containerd, etcd, …) are not in the cache and cannot be fetched: {exc}.",
                    hint="localk8s start --artifacts BUNDLE",
                ) from exc

        return self._cache.obtain(tools_entry_name(self._arch), "the node tools", step, make)


def _version_of(name: str) -> KubernetesVersion:
    return parse_kubernetes_version(name.partition("/")[2].partition("-")[0])
