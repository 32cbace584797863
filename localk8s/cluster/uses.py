"""What a user does with a running cluster, as methods of ``Cluster``: ports, services, tunnels, files, figures, pages.

Owns which helper gets what of the cluster and of its driver; the work is in ``helpers``. Prints nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from localk8s.drivers.base import Feature, SupportsDashboard, SupportsNodeFigures
from localk8s.model.errors import KubernetesError, NotSupportedError, WrongStateError
from localk8s.model.hints import command
from localk8s.model.status import ClusterState, NodeState

if TYPE_CHECKING:
    from localk8s.drivers.base import Driver, NodeFigures
    from localk8s.helpers.hosts import HostEntry
    from localk8s.helpers.pod_logs import LogFollower, LogLine
    from localk8s.helpers.port_forward import PortForward
    from localk8s.helpers.proxy import ApiProxy
    from localk8s.helpers.services import ServiceAccess
    from localk8s.helpers.top import Usage
    from localk8s.helpers.tunnel import Tunnel, Tunnelled
    from localk8s.kube.rest import RestClient
    from localk8s.model.node import Node
    from localk8s.model.progress import Reporter
    from localk8s.model.spec import ClusterSpec
    from localk8s.model.status import ClusterStatus
    from localk8s.wiring import Installation


class Uses:
    """Part of ``Cluster``; see there."""

    name: str
    _report: Reporter
    _installation: Installation
    if TYPE_CHECKING:

        @property
        def spec(self) -> ClusterSpec: ...  # noqa: D102
        def status(self) -> ClusterStatus: ...  # noqa: D102
        def client(self, *, timeout: float = 10.0) -> RestClient: ...  # noqa: D102
        def node(self, name: str = "") -> Node: ...  # noqa: D102
        def nodes(self) -> tuple[Node, ...]: ...  # noqa: D102
        @property
        def _driver(self) -> Driver: ...

    def port_forward(
        self,
        target: str,
        *ports: str | int,
        namespace: str = "default",
        addresses: Sequence[str] = ("127.0.0.1",),
        direct: bool | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> contextlib.AbstractContextManager[PortForward]:
        """Local ports that lead to pods, while the block runs. Each connection goes to a pod that is ready then.

        ::

            with cluster.port_forward("svc/web", "0:80") as forward:
                urllib.request.urlopen(forward.ports[0].url)

        Args:
            target: ``svc/NAME``, ``pod/NAME``, ``deploy/NAME``, ``sts/NAME``, ``ds/NAME``, ``rs/NAME``.
            ports: ``[LOCAL:]REMOTE``; LOCAL 0 takes any free port, see ``PortForward.ports``.
            namespace: the target's.
            addresses: local IP addresses to listen on.
            direct: whether pods are reached without the API server; None: where this host has a way to them.
            tell: told about each connection that could not be served.

        Raises:
            UsageError: a target, port or address that makes no sense.
            NotFoundError: there is no such cluster or target.
            PrerequisiteError: a local port is taken.
            WrongStateError, KubernetesError: the API does not answer, or refused.
        """
        from localk8s.helpers.port_forward import PortForward
        from localk8s.helpers.port_forward_targets import parse_port, parse_target

        wanted = parse_target(target, namespace)
        pairs = [parse_port(str(port)) for port in ports]
        way = self._has(Feature.HOST_ROUTES) if direct is None else direct

        @contextlib.contextmanager
        def forwarding() -> Iterator[PortForward]:
            with (
                self._asked() as client,
                PortForward(client, wanted, pairs, addresses=addresses, direct=way, tell=tell, cluster=self.name) as forward,
            ):
                yield forward

        return forwarding()

    def services(self, *, namespace: str = "") -> tuple[ServiceAccess, ...]:
        """All services and where this host reaches them; of every namespace when it is empty.

        Raises:
            NotFoundError: there is no such cluster.
            WrongStateError, KubernetesError: the API does not answer, or refused.
        """
        from localk8s.helpers.services import list_services

        with self._asked() as client:
            return list_services(client, namespace, self._addresses(), routes=self._has(Feature.HOST_ROUTES))

    def service(self, name: str, *, namespace: str = "default", timeout: float = 60.0) -> ServiceAccess:
        """One service and where this host reaches it, once something behind it is ready.

        ::

            url = cluster.service("web").addresses[0].url

        Args:
            name: the service.
            namespace: the service's.
            timeout: seconds to wait.

        Raises:
            NotFoundError: there is no such cluster or service.
            NotSupportedError: this host does not reach it; ``port_forward`` does.
            WaitTimeoutError: nothing behind it became ready.
        """
        from localk8s.helpers.services import find_service

        with self._asked() as client:
            return find_service(
                client,
                namespace,
                name,
                self._addresses(),
                routes=self._has(Feature.HOST_ROUTES),
                timeout=timeout,
                report=self._report,
                cluster=self.name,
            )

    @contextlib.contextmanager
    def tunnel(
        self, *, changed: Callable[[Tunnelled], None] | None = None, tell: Callable[[str], None] | None = None
    ) -> Iterator[Tunnel]:
        """Services of type LoadBalancer have an address that this host reaches, while the block runs.

        Args:
            changed: told when a service got its address, or (with an empty one) lost it; in another thread.
            tell: told in a sentence what could not be done; in another thread.

        Raises:
            WrongStateError: this cluster has a tunnel already; or its API does not answer.
            NotFoundError: there is no such cluster.
        """
        from localk8s.helpers.tunnel import Tunnel
        from localk8s.system.locks import exclusive

        lock = self._installation.layout.lock(f"{self.name}.tunnel")
        with (
            self._asked(lasting=True) as client,
            exclusive(lock, what=f'The tunnel of cluster "{self.name}"', hint="end the other one by Ctrl-C"),
            Tunnel(client, routes=self._has(Feature.HOST_ROUTES), changed=changed, tell=tell) as tunnel,
        ):
            yield tunnel

    def clean_up_tunnel(self) -> tuple[Tunnelled, ...]:
        """Take back what a tunnel that was killed left announced; returns the services. Errors as for ``tunnel``."""
        from localk8s.helpers.tunnel import clean_up
        from localk8s.system.locks import exclusive

        lock = self._installation.layout.lock(f"{self.name}.tunnel")
        with self._asked() as client, exclusive(lock, what=f'The tunnel of cluster "{self.name}"'):
            return clean_up(client)

    def host_entries(self) -> tuple[HostEntry, ...]:
        """The names that this host could have for the cluster's nodes and ingress hosts.

        Raises:
            NotFoundError: there is no such cluster.
            WrongStateError, KubernetesError: the API does not answer, or refused.
        """
        from localk8s.helpers.hosts import find_entries

        with self._asked() as client:
            return find_entries(client, [(node.name, node.address) for node in self.nodes()])

    @contextlib.contextmanager
    def proxy(self, *, address: str = "127.0.0.1", port: int = 0, commands: bool = False) -> Iterator[ApiProxy]:
        """The API on a local port without credentials, while the block runs; see ``ApiProxy.url``.

        Args:
            address: the local IP address to listen on.
            port: 0 for any that is free.
            commands: whether commands may be run in pods.

        Raises:
            NotFoundError: there is no such cluster.
            PrerequisiteError: the port is taken.
            UsageError: the address is none of this host.
        """
        from localk8s.helpers.proxy import ApiProxy

        with (
            self._asked(lasting=True) as client,
            ApiProxy(client.endpoint, address=address, port=port, commands=commands) as proxy,
        ):
            yield proxy

    def copy(self, source: str, target: str) -> None:
        """Copy a file or a directory between this host and nodes, or from node to node.

        Modes are kept, less the umask. Sockets, named pipes and devices in a directory are left out, with a warning.

        Args:
            source: a path on this host, or ``NODE:/PATH``.
            target: likewise; into it when it is a directory, which has to be there.

        Raises:
            UsageError: a place makes no sense, or none is on a node.
            NotFoundError: a cluster, node, file or the directory to copy into is not there.
            NotSupportedError: this driver cannot copy.
            CommandError: it cannot be written.
        """
        from localk8s.helpers.copy import copy, parse_place

        if not self._has(Feature.COPY):
            raise NotSupportedError("This driver cannot copy files.", hint=command("ssh", cluster=self.name))
        copy(parse_place(source), parse_place(target), self.node, self._report.warn)

    def top(self, *, namespace: str = "", selector: str = "") -> Usage:
        """What nodes and pods use now, from the kubelets; of a node that its kubelet does not measure, what the kernel counts.

        Args:
            namespace: of the pods; all when empty.
            selector: a label selector for the pods: ``app=web``.

        Raises:
            NotFoundError: there is no such cluster.
            WrongStateError, KubernetesError: the API does not answer, or refused.
        """
        from localk8s.helpers.top import labelled, look

        with self._asked() as client:
            off = [node.name for node in self.status().nodes if node.state is NodeState.STOPPED]
            usage = look(client, self.spec.size, self._figures_of(), off=off)
            if not (namespace or selector):
                return usage
            wanted = labelled(client, namespace, selector)
            return replace(usage, pods=tuple(pod for pod in usage.pods if (pod.namespace, pod.name) in wanted))

    def pod_logs(
        self,
        target: str = "",
        *,
        selector: str = "",
        namespace: str = "default",
        lines: int = 50,
        container: str = "",
        previous: bool = False,
    ) -> Iterator[LogLine]:
        """The last lines of each container of some pods, pod by pod.

        Args:
            target: as for ``port_forward``; empty goes by ``selector``.
            selector: a label selector: ``app=web``.
            namespace: theirs.
            lines: of each container.
            container: of each pod only this one; all when empty.
            previous: of the containers that ran before the last restart.

        Raises:
            NotFoundError: there is no such cluster, target or container, or no pod.
            WrongStateError, KubernetesError: the API does not answer, or refused.
        """
        from localk8s.helpers.pod_logs import pods_path, read_logs
        from localk8s.helpers.port_forward_targets import parse_target

        with self._asked() as client:
            wanted = parse_target(target, namespace) if target else None
            path = pods_path(client, wanted, selector, namespace, cluster=self.name)
            yield from read_logs(client, path, tail=lines, container=container, previous=previous)

    @contextlib.contextmanager
    def follow_pod_logs(
        self, target: str = "", *, selector: str = "", namespace: str = "default", lines: int = 50, container: str = ""
    ) -> Iterator[LogFollower]:
        """The same as it goes on: iterate over it inside the block. Pods that come later are in it, too."""
        from localk8s.helpers.pod_logs import LogFollower, pods_path
        from localk8s.helpers.port_forward_targets import parse_target

        with self._asked(lasting=True) as client:
            wanted = parse_target(target, namespace) if target else None
            path = pods_path(client, wanted, selector, namespace, cluster=self.name)
            with LogFollower(client, path, tail=lines, container=container) as follower:
                yield follower

    @contextlib.contextmanager
    def dashboard(self, *, ui: str = "built-in", port: int = 0) -> Iterator[str]:
        """A page that shows the cluster live, on this host's loopback while the block runs; yields its address.

        Args:
            ui: ``built-in``; one that is installed: ``headlamp``, ``kubernetes-dashboard``; or the driver's own: ``minikube``.
            port: 0 for any that is free.

        Raises:
            UsageError: nobody knows that ``ui``.
            NotFoundError: there is no such cluster, or the ``ui`` is not installed in it.
            NotSupportedError: it is another driver's.
            PrerequisiteError: the port is taken.
            WrongStateError, KubernetesError: the API does not answer, or refused.
        """
        from localk8s.helpers.dashboard import BUILT_IN, DRIVERS_OWN, forward_installed, serve_dashboard

        driver, routes = self._driver, self._has(Feature.HOST_ROUTES)
        if ui in DRIVERS_OWN:
            if not isinstance(driver, SupportsDashboard) or driver.info.name != ui:
                raise NotSupportedError(
                    f"The {driver.info.name} driver does not bring {ui}'s dashboard.",
                    hint=command("dashboard", cluster=self.name),
                )
            with contextlib.ExitStack() as stack:
                with self._report.step("dashboard", f"starting {ui}'s dashboard") as step:
                    address = stack.enter_context(driver.dashboard(self.spec, port))
                    step.finish_as("")
                yield address
            return
        with self._asked(lasting=True) as client, contextlib.ExitStack() as stack:
            if ui == BUILT_IN:
                page = serve_dashboard(
                    client, title=self.name, nodes=self._addresses(), routes=routes, port=port,
                    size=self.spec.size, figures_of=self._figures_of(),
                )  # fmt: skip
            else:
                page = forward_installed(client, ui, direct=routes, port=port)
            yield stack.enter_context(page)

    def _figures_of(self) -> Callable[[str], NodeFigures | None] | None:
        driver = self._driver
        return partial(driver.node_figures, self.spec) if isinstance(driver, SupportsNodeFigures) else None

    def _addresses(self) -> tuple[str, ...]:
        """One node's address: node ports answer on each."""
        return tuple(node.address for node in self.nodes()[:1] if node.address)

    def _has(self, feature: Feature) -> bool:
        return feature in self._driver.info.features

    @contextlib.contextmanager
    def _asked(self, *, lasting: bool = False) -> Iterator[RestClient]:
        """A client for the block; no answer at all is said to be the cluster's state.

        Args:
            lasting: what the block does bears with an API server that is away: ask once before it begins.
        """
        client = self.client()
        try:
            if lasting:
                client.raw("/version")
            yield client
        except KubernetesError as exc:
            if exc.status is not None:
                raise
            stopped = self.status().state is ClusterState.STOPPED
            how = "is stopped" if stopped else "does not answer"
            raise WrongStateError(f'Cluster "{self.name}" {how}.', hint=command("start", cluster=self.name)) from exc
        finally:
            client.close()
