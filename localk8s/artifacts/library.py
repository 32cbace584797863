"""The artifact library: the one object that finds, fetches, builds and keeps what clusters are made of.

Construct it with::

    Library(layout.artifacts, HostRunner(log=…), ArtifactSettings(mirror=None, official=None, offline=False))

It reads no environment and no configuration by itself: the composition root hands in the settings (``offline`` also
when LOCALK8S_OFFLINE is set). Implements ``artifacts.base.Artifacts``; must not know drivers, nodes or commands.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from localk8s.artifacts.bundle import Member, find_tools, listed_versions, open_bundle, write_bundle
from localk8s.artifacts.cache import Cache, Entry
from localk8s.artifacts.catalog import NODE_SUITE, architecture
from localk8s.artifacts.debian import read_codename
from localk8s.artifacts.docker_tools import docker_entry_name, make_docker_tools
from localk8s.artifacts.holdings import Holding, Missing, list_holdings, missing_kubernetes, missing_root
from localk8s.artifacts.images import ImageMaker, own_scripts
from localk8s.artifacts.kinds import KUBERNETES_PROGRAMS, Image, ImageRole, KubernetesBinaries, NodeRoot, NodeTools
from localk8s.artifacts.manifest import MANIFEST
from localk8s.artifacts.named import NamedSource
from localk8s.artifacts.node_root import ROOT, make_root, root_entry_name
from localk8s.artifacts.settings import ArtifactSettings
from localk8s.artifacts.sources import Sources
from localk8s.artifacts.trouble import Unavailable
from localk8s.model.errors import ArtifactError, NotFoundError, UsageError
from localk8s.model.hints import host_command, instead
from localk8s.model.progress import SilentReporter, Step
from localk8s.model.versions import KubernetesVersion
from localk8s.system.process import HostRunner

BUNDLED_ROLES = (ImageRole.PAUSE, ImageRole.ECHO, ImageRole.DNS)
"""Images that a bundle holds unless told otherwise; those of the programs are made from them in a second."""


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
        self.architecture = architecture(machine or platform.machine())
        """``amd64`` or ``arm64``: this host's."""
        self._codename = read_codename() if codename is None else codename
        self._offline = settings.offline
        self._sources = Sources(settings, self._codename, self.architecture, runner)
        self._suite = settings.debian_suite or NODE_SUITE
        self._root_entry: Entry | None = None
        self._opened: dict[Path, Path] = {}

    def newest_version(self, named: str | None) -> KubernetesVersion:
        """The newest Kubernetes that a source can give; fetches nothing. See ``Artifacts.newest_version``."""
        if named is not None:
            path = Path(named)
            if path.is_file() and (listed := listed_versions(path, self.architecture)):
                return max(listed)
            with SilentReporter().step("look", "") as step:
                return max(item.version for item in self._named(path, step).all())
        return self._sources.newest(self.cached_versions())

    def cached_versions(self) -> tuple[KubernetesVersion, ...]:
        """The Kubernetes versions in the cache, oldest first; they need no network."""
        ending = f"-{self.architecture}"
        names = [name.removeprefix("kubernetes/") for name in self._cache.names("kubernetes")]
        return Sources.versions(name.removesuffix(ending) for name in names if name.endswith(ending))

    def kubernetes(self, version: KubernetesVersion, named: str | None, step: Step) -> KubernetesBinaries:
        """The seven programs of ``version``, fetched or built if need be. See ``Artifacts.kubernetes``."""
        if named is not None:
            return self._from_named(version, Path(named), step)
        entry = self._cache.obtain(
            self._kubernetes_name(version),
            f"Kubernetes {version}",
            step,
            lambda work, shared: self._sources.fetch(version, work, shared),
            resumable=True,
        )
        digests = {name: record.sha256 for name, record in entry.manifest.files.items()}
        return KubernetesBinaries(version, entry.path, entry.manifest.facts.get("source", "cache"), digests=digests)

    def node_root(self, step: Step) -> NodeRoot:
        """The root file system of native nodes. See ``Artifacts.node_root``."""
        return NodeRoot(self._root(step).path / ROOT)

    def docker_tools(self, step: Step) -> NodeTools:
        """dockerd, docker and docker-registry with their libraries. See ``Artifacts.docker_tools``."""
        return NodeTools(self._docker(step).path)

    def images(self, binaries: KubernetesBinaries, roles: Sequence[ImageRole], step: Step) -> tuple[Image, ...]:
        """Archives of the images for ``roles``. See ``Artifacts.images``."""
        maker = ImageMaker(self._cache, self.architecture, self._runner, own_scripts())
        return maker.images(binaries, lambda: self._root(step), roles, step)

    def holdings(self) -> tuple[Holding, ...]:
        """What the cache holds, finished or not, with sizes; reads no file, so nothing is verified."""
        return list_holdings(self._cache)

    def remove(self, holdings: Sequence[Holding]) -> tuple[Holding, ...]:
        """Remove entries from the cache and return those that went; what another process is making just now stays.

        Raises:
            ArtifactError: one cannot be removed.
        """
        return tuple(holding for holding in holdings if self._cache.remove(holding.name))

    def missing(self, version: KubernetesVersion) -> tuple[Missing, ...]:
        """What a start of ``version`` would have to fetch or build, with what that takes; asks no network."""
        found = []
        if version not in self.cached_versions():
            found.append(missing_kubernetes(version, self._sources.is_built(version)))
        if not self._cache.path(self._root_name).is_dir():
            found.append(missing_root())
        return tuple(found)

    def write_bundle(
        self, target: Path, version: KubernetesVersion, step: Step, roles: Sequence[ImageRole] = BUNDLED_ROLES
    ) -> None:
        """Write everything a cluster of ``version`` needs into one file, for ``--artifacts`` on another machine.

        Args:
            target: ends in .tar, .tar.gz, .tar.xz or .tar.zst.

        Raises:
            ArtifactError: something cannot be had, or ``target`` cannot be written.
            UsageError: ``target`` has another ending.
        """
        binaries = self.kubernetes(version, None, step)
        place = f"release/{version}/bin/linux/{self.architecture}"
        members = [
            Member(f"{place}/{name}", binaries.directory / name, binaries.digests.get(name, "")) for name in KUBERNETES_PROGRAMS
        ]
        images = self.images(binaries, roles, step)
        members += [Member(f"images/{image.role.value}.tar", image.archive, "") for image in images]
        members += _entry_members(self._root_name, self._root(step))
        members += _entry_members(docker_entry_name(self.architecture, self._suite), self._docker(step))
        write_bundle(target.absolute(), members, self._runner, step)

    @property
    def _root_name(self) -> str:
        return root_entry_name(self.architecture, self._suite)

    def _kubernetes_name(self, version: KubernetesVersion) -> str:
        return f"kubernetes/{version}-{self.architecture}"

    def _open(self, path: Path, step: Step) -> Path:
        """The directory that ``--artifacts PATH`` means: itself, or the bundle unpacked."""
        path = path.absolute()
        if not path.exists():
            raise NotFoundError(f"There is no directory or bundle {path}.", hint=instead("--artifacts", "DIRECTORY"))
        if path.is_dir():
            return path
        if path not in self._opened:  # verified once a process
            self._opened[path] = open_bundle(path, self._cache, self._runner, step)
        return self._opened[path]

    def _named(self, path: Path, step: Step) -> NamedSource:
        return NamedSource(self._open(path, step), self.architecture, self._runner, self._cache, step)

    def _from_named(self, version: KubernetesVersion, path: Path, step: Step) -> KubernetesBinaries:
        source = self._named(path, step)
        found = {item.version: item for item in source.all()}
        if version not in found:
            raise UsageError(
                f"{path} holds Kubernetes {', '.join(str(item) for item in sorted(found))}, not {version}.",
                hint=instead("--kubernetes-version", str(max(found)).removeprefix("v")),
            )
        brought = {
            self._root_name: "the nodes' root file system",
            docker_entry_name(self.architecture, self._suite): "Debian's docker",
        }
        for name, what in brought.items():
            tools = find_tools(source.root, name)
            if tools is not None:
                self._cache.adopt(name, what, tools, step)
        images = source.root / "images"
        item = found[version]
        return KubernetesBinaries(version, item.directory, str(path), images if images.is_dir() else None, item.digests)

    def _docker(self, step: Step) -> Entry:
        def make(work: Path, shared: Step) -> Mapping[str, str]:
            try:
                if self._offline:
                    raise Unavailable("localk8s is set to be offline")
                return make_docker_tools(work, self._codename and self._suite, self._runner, shared)
            except Unavailable as exc:
                raise ArtifactError(
                    f"Debian's docker is not in the cache and cannot be fetched: {exc}.",
                    hint=f"LOCALK8S_OFFLINE=0 {host_command('setup', '--driver', 'native')}",
                ) from exc

        return self._cache.obtain(docker_entry_name(self.architecture, self._suite), "Debian's docker", step, make)

    def _root(self, step: Step) -> Entry:
        def make(work: Path, shared: Step) -> Mapping[str, str]:
            try:
                if self._offline:
                    raise Unavailable("localk8s is set to be offline")
                return make_root(work, self._codename and self._suite, self._runner, shared)
            except Unavailable as exc:
                raise ArtifactError(
                    f"The nodes' root file system (containerd, etcd, …) is not in the cache and cannot be made: {exc}.",
                    hint=instead("--artifacts", "BUNDLE"),
                ) from exc

        if self._root_entry is None:  # verified once a process: there are thousands of files
            self._root_entry = self._cache.obtain(self._root_name, "the nodes' root file system", step, make)
        return self._root_entry


def _entry_members(name: str, entry: Entry) -> list[Member]:
    """A cache entry as it lies there, manifest included."""
    members = [Member(f"{name}/{MANIFEST}", entry.path / MANIFEST, "")]
    for path in sorted(entry.path.rglob("*")):
        inside = path.relative_to(entry.path).as_posix()
        record = entry.manifest.files.get(inside)
        if path.is_symlink() or record:
            members.append(Member(f"{name}/{inside}", path, record.sha256 if record else ""))
    return members
