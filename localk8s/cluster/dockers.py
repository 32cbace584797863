"""docker and the registry in a running cluster, as methods of ``Cluster``: programs beside Kubernetes on its nodes.

Owns on which nodes they run, and that nodes which were off learn of them when they are back; the work is in ``helpers``.
Prints nothing.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

from localk8s.cluster import recipe
from localk8s.drivers.base import SupportsContainerd, SupportsDockerEnvironment, SupportsPrivileges, SupportsServices
from localk8s.model.errors import Localk8sError, NotFoundError, NotSupportedError, PrerequisiteError
from localk8s.model.hints import command
from localk8s.model.node import KnowsRoom
from localk8s.system.disk_space import disk_full, room_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localk8s.drivers.base import Driver
    from localk8s.drivers.image_tool import ImageBuild
    from localk8s.helpers.docker_env import DockerHost, Supervision
    from localk8s.helpers.images_tool import ToolImages
    from localk8s.helpers.registry import Registry, RegistryStatus
    from localk8s.kube.rest import RestClient
    from localk8s.model.node import Node
    from localk8s.model.progress import Reporter
    from localk8s.model.spec import ClusterSpec
    from localk8s.wiring import Installation


class Dockers:
    """Part of ``Cluster``; see there."""

    name: str
    _report: Reporter
    _installation: Installation
    if TYPE_CHECKING:

        @property
        def spec(self) -> ClusterSpec: ...  # noqa: D102
        def nodes(self) -> tuple[Node, ...]: ...  # noqa: D102
        def apply_mirrors(self) -> None: ...  # noqa: D102
        def _running(self) -> tuple[tuple[Node, ...], tuple[str, ...]]: ...
        def _switched_on(self, name: str, off: Sequence[str]) -> Node: ...
        def _asked(self) -> contextlib.AbstractContextManager[RestClient]: ...
        def _image_tool(self) -> ToolImages | None: ...
        @property
        def _driver(self) -> Driver: ...
        @property
        def _machine(self) -> str: ...

    def start_registry(self) -> Registry:
        """Have a registry that this host and every node reach under one address; announced by KEP-1755's ConfigMap.

        Nodes that are off learn of it when they start.

        Raises:
            NotFoundError: there is no such cluster.
            WrongStateError: its first node is off.
            NotSupportedError: this driver cannot run one.
            ArtifactError: Debian's docker-registry is not in the cache and cannot be fetched.
        """
        from localk8s.helpers.registry import start_registry

        driver = self._serving()
        nodes = self._first_and_others()
        with self._report.step("registry", "starting the registry") as step, self._asked() as client:
            started = start_registry(
                nodes, partial(driver.start_service, self.spec), partial(driver.docker_tools, step), client, step, self.name
            )
            step.finish_as("the registry runs")
        return started

    def stop_registry(self) -> None:
        """End the registry; its images stay until the cluster is deleted. Errors as for ``start_registry``."""
        from localk8s.helpers.registry import stop_registry

        driver = self._serving()
        nodes = self._first_and_others()
        with self._asked() as client:
            stop_registry(nodes, partial(driver.stop_service, self.spec), client)

    def registry(self) -> RegistryStatus:
        """The registry as this host and the nodes see it; changes nothing.

        Raises:
            NotFoundError: there is no such cluster.
            WrongStateError: the cluster is stopped.
            NotSupportedError: this driver has none.
        """
        from localk8s.helpers.registry import RegistryState, RegistryStatus, address_on, inspect_registry

        self._serving()
        running, off = self._running()
        first = self.nodes()[0]
        if running[0].name != first.name:
            return RegistryStatus(RegistryState.BROKEN, address_on(first), (), f"node {first.name} is off")
        return inspect_registry(running, off)

    def docker_environment(self, node: str = "") -> dict[str, str]:
        """The variables with which docker's client on this host works on a docker in the cluster; started if need be.

        What is built, pulled, loaded or tagged there is on every node of the cluster a moment later; on nodes that are off
        when they are back.

        Args:
            node: where docker runs; the first control plane when empty.

        Raises:
            NotFoundError: there is no such cluster or node.
            WrongStateError: the node is off.
            NotSupportedError: this cluster can have none.
            ArtifactError: Debian's docker is not in the cache and cannot be fetched.
        """
        driver = self._driver
        if isinstance(driver, SupportsDockerEnvironment):
            if node:
                raise NotSupportedError(
                    f"The {self.spec.driver} driver has one docker, on a machine of its choice.",
                    hint=command("docker-env", cluster=self.name),
                )
            return dict(driver.docker_environment(self.spec))
        if not isinstance(driver, SupportsServices) or not isinstance(driver, SupportsContainerd):
            raise NotSupportedError(
                f"The {self.spec.driver} driver has no docker on its nodes.",
                hint=command("image load", "IMAGE", cluster=self.name),
            )
        from localk8s.helpers.docker_env import answers_client, start_docker

        running, off = self._running()
        host = self._docker_host(self._switched_on(node, off))
        if not _may_change(driver, self.name) and answers_client(host):
            return host.variables
        watched = recipe.Watched(self._report)
        with (
            recipe.held(self._installation, self.name, watched),
            watched.step("docker", f"starting docker on {host.node.name}") as step,
        ):
            start_docker(
                host,
                running,
                self._supervision(driver),
                partial(driver.docker_tools, step),
                self._installation.runner(),
                self._machine,
                step,
                self.name,
            )
            step.finish_as(f"docker runs on {host.node.name}")
        if off:
            self._report.warn(
                f"{' and '.join(off)} will have the built images when {'it is' if len(off) == 1 else 'they are'} started again."
            )
        return host.variables

    def build_image(self, wanted: ImageBuild, *, node: str = "", quiet: bool = False) -> int:
        """Build an image in the cluster, with the driver's own tool or by ``docker build`` on this terminal.

        Args:
            wanted: what to build.
            node: where docker runs; the first control plane when empty.
            quiet: docker prints nothing but the id.

        Returns:
            docker's exit code.

        Raises:
            PrerequisiteError: there is no docker client on this host.
            CommandError: the driver's own tool failed.
            NotFoundError, WrongStateError, NotSupportedError, ArtifactError: as for ``docker_environment``.
        """
        if tool := self._image_tool():
            tool.build(wanted)
            return 0
        arguments = ["--tag", wanted.name, *(["--file", wanted.file] if wanted.file else []), *(["--quiet"] if quiet else [])]
        arguments += [part for each in wanted.arguments for part in ("--build-arg", each)]
        variables = self.docker_environment(node)
        argv = ["docker", "build", *arguments, "--", str(wanted.context)]
        code = self._installation.runner().foreground(argv, env=variables)
        if code:
            self._insist_on_room()
        return code

    def _insist_on_room(self) -> None:
        """Name the full disk that made a program fail whose output went to the terminal."""
        for node in self._running()[0]:
            place = node.place() if isinstance(node, KnowsRoom) else None
            takes_nothing = place and node.run(["test", "-w", "/var/lib"], check=False).returncode != 0
            if place and (room_at(place).is_full or takes_nothing):
                raise disk_full(place, "the cluster")

    def bring_up_to_date(self) -> None:
        """Give nodes that were off, or not there yet, what the others have: mirrors, the images of dockers, the registry.

        What does not work is a warning: the cluster runs without it.

        Raises:
            ConfigError: the file with the mirrors holds something unusable.
        """
        from localk8s.helpers.docker_env import follow_docker
        from localk8s.helpers.docker_env_certificates import has_certificates
        from localk8s.helpers.registry import bring_up_to_date

        mirrors = self._installation.config.mirrors
        try:
            if mirrors:
                self.apply_mirrors()
            driver, nodes = self._driver, self.nodes()
            if len(nodes) == 1 or not isinstance(driver, SupportsServices) or not isinstance(driver, SupportsContainerd):
                return
            running, _ = self._running()
            for host in map(self._docker_host, nodes):
                if has_certificates(host.certificates):
                    follow_docker(host, running, self._supervision(driver), self._machine)
            if running[0].name == nodes[0].name:
                bring_up_to_date(running)
        except NotFoundError:
            return  # it was deleted meanwhile
        except Localk8sError as exc:
            again = command("start", cluster=self.name)
            self._report.warn(f"Some nodes may not have the mirrors, docker's images or the registry ({exc.message}): {again}")

    def forget_docker(self, node: str) -> None:
        """Let no node follow the docker that was on ``node``, which is gone. Nodes that are off try in vain until deleted."""
        from localk8s.helpers.docker_env import follower_name

        driver = self._driver
        if isinstance(driver, SupportsServices):
            for each in self._running()[0]:
                driver.stop_service(self.spec, each.name, follower_name(node))

    def _docker_host(self, node: Node) -> DockerHost:
        from localk8s.helpers.docker_env import DockerHost

        return DockerHost(node, self._installation.layout.docker(self.name, node.name))

    def _supervision(self, driver: SupportsServices) -> Supervision:
        from localk8s.helpers.docker_env import Supervision

        assert isinstance(driver, SupportsContainerd)  # noqa: S101 - asked before
        return Supervision(partial(driver.start_service, self.spec), driver.node_python, driver.containerd(self.spec))

    def _first_and_others(self) -> tuple[Node, ...]:
        """The nodes that run, the first of the cluster among them.

        Raises:
            WrongStateError: that one is off.
        """
        running, off = self._running()
        self._switched_on("", off)
        return running

    def _serving(self) -> SupportsServices:
        driver = self._driver
        if not isinstance(driver, SupportsServices):
            raise NotSupportedError(
                f"The {self.spec.driver} driver runs no registry on its nodes.",
                hint=command("image load", "IMAGE", cluster=self.name),
            )
        return driver


def _may_change(driver: Driver, cluster: str) -> bool:
    try:
        if isinstance(driver, SupportsPrivileges):
            driver.check_privileges(cluster)
    except PrerequisiteError:
        return False
    return True
