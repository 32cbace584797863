"""The composition root: which concrete things a process of localk8s is made of.

The only place that constructs drivers, the artifact library, records and runners. Everything is made when it is first
needed, so that quick commands stay quick. Decides nothing about clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from localk8s.drivers.base import Driver, DriverContext
from localk8s.drivers.registry import Registry
from localk8s.model.errors import ConfigError
from localk8s.store.layout import Layout
from localk8s.store.records import Records
from localk8s.system.environment import Environment, read_environment
from localk8s.system.host import Host
from localk8s.system.paths import find_roots
from localk8s.system.process import HostRunner, Mask, end_running

if TYPE_CHECKING:
    from subprocess import Popen

    from localk8s.artifacts.base import Artifacts
    from localk8s.artifacts.kinds import Image, ImageRole, KubernetesBinaries, NodeRoot, NodeTools
    from localk8s.artifacts.library import Library
    from localk8s.model.progress import Step
    from localk8s.model.versions import KubernetesVersion
    from localk8s.system.config import Config


class Installation:
    """One localk8s: its directories, its configuration, its drivers.

    Args:
        environment: the variables to go by; those of this process when None.
        registry: the drivers; those that are installed when None.
        artifacts: what clusters are made of; the library over the cache when None.
        echo: called with each shell-quoted command line before it runs.
    """

    def __init__(
        self,
        environment: Environment | None = None,
        *,
        registry: Registry | None = None,
        artifacts: Artifacts | None = None,
        echo: Callable[[str], None] | None = None,
    ) -> None:
        self.environment = environment or read_environment()
        self.layout = Layout(find_roots(self.environment.variables))
        self.records = Records(self.layout)
        self.registry = registry or Registry()
        self.host = Host(self.layout.roots.data)
        self.mask = Mask()
        self._artifacts = artifacts
        self._echo = echo
        self._running: set[Popen[bytes]] = set()

    @property
    def config_file(self) -> Path:
        """The configuration file that counts; it need not exist."""
        return self.environment.path("LOCALK8S_CONFIG") or self.layout.config_file

    @cached_property
    def config(self) -> Config:
        """The user's settings, read when first needed.

        Raises:
            ConfigError: the file holds something unusable.
        """
        from localk8s.system.config import load_config

        if self.environment.path("LOCALK8S_CONFIG") and not self.config_file.exists():
            raise ConfigError(f"LOCALK8S_CONFIG: there is no file {self.config_file}.", hint="unset LOCALK8S_CONFIG")
        return load_config(self.config_file)

    @property
    def offline(self) -> bool:
        """Whether nothing may be fetched over a network."""
        return self.environment.flag("LOCALK8S_OFFLINE") or self.config.sources.offline

    def runner(self, log: Path | None = None) -> HostRunner:
        """A runner of host commands that writes to ``log`` (None: to no log)."""
        return HostRunner(log=log, echo=self._echo, mask=self.mask, running=self._running)

    def end_running(self) -> None:
        """Kill every host command that runs now: for a process that has to end at once."""
        end_running(self._running)

    def artifacts(self, runner: HostRunner) -> Artifacts:
        """What clusters are made of; fetched and built by ``runner``."""
        return self._artifacts or _LazyArtifacts(self, runner)

    def library(self, runner: HostRunner) -> Library:
        """The cache and the sources behind it, as the configuration has them."""
        from localk8s.artifacts.library import Library
        from localk8s.artifacts.settings import ArtifactSettings

        sources = self.config.sources
        settings = ArtifactSettings(sources.mirror, sources.official, offline=self.offline, debian_suite=sources.debian_suite)
        return Library(self.layout.artifacts, runner, settings)

    def driver(self, name: str, runner: HostRunner | None = None, *, wait: bool = True) -> Driver:
        """The driver called ``name``.

        Args:
            name: as in a record or on the command line.
            runner: what it runs host commands with; one without a log when None.
            wait: whether creating and starting end only when the cluster is ready.

        Raises:
            UsageError: there is no such driver.
            BrokenDriverError: it cannot be loaded.
        """
        runner = runner or self.runner()
        context = DriverContext(
            directory=self.layout.driver_data(name),
            runner=runner,
            artifacts=self.artifacts(runner),
            host=self.host,
            layout=self.layout,
            environment=self.environment.variables,
            settings=_Section(self, name),
            wait=wait,
        )
        return self.registry.build(name, context)


class _Section(Mapping[str, str]):
    """A driver's section of the configuration, read only when somebody looks into it."""

    def __init__(self, installation: Installation, driver: str) -> None:
        self._installation = installation
        self._driver = driver

    @property
    def _settings(self) -> Mapping[str, str]:
        return self._installation.config.drivers.get(self._driver, {})

    def __getitem__(self, key: str) -> str:
        return self._settings[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._settings)

    def __len__(self) -> int:
        return len(self._settings)


class _LazyArtifacts:
    """The artifact library, loaded when something is asked of it: ``localk8s ip`` asks nothing."""

    def __init__(self, installation: Installation, runner: HostRunner) -> None:
        self._installation = installation
        self._runner = runner

    @cached_property
    def _library(self) -> Artifacts:
        return self._installation.library(self._runner)

    def newest_version(self, named: str | None) -> KubernetesVersion:
        """See ``Artifacts``."""
        return self._library.newest_version(named)

    def kubernetes(self, version: KubernetesVersion, named: str | None, step: Step) -> KubernetesBinaries:
        """See ``Artifacts``."""
        return self._library.kubernetes(version, named, step)

    def node_root(self, step: Step) -> NodeRoot:
        """See ``Artifacts``."""
        return self._library.node_root(step)

    def docker_tools(self, step: Step) -> NodeTools:
        """See ``Artifacts``."""
        return self._library.docker_tools(step)

    def images(self, binaries: KubernetesBinaries, roles: Sequence[ImageRole], step: Step) -> tuple[Image, ...]:
        """See ``Artifacts``."""
        return self._library.images(binaries, roles, step)
