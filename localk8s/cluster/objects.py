"""``Cluster``: one cluster by name, with the verbs of the command line as methods.

Owns the surface of the library; the work is in ``plan``, ``recipe`` and the helpers. Prints nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from localk8s.cluster import recipe
from localk8s.cluster.builds import Builds
from localk8s.cluster.dockers import Dockers
from localk8s.cluster.exports import Exports
from localk8s.cluster.members import Members
from localk8s.cluster.plan import Plan
from localk8s.cluster.user_kubeconfig import kept, publish, withdraw
from localk8s.cluster.uses import Uses
from localk8s.cluster.wish import Choice, Wish, parse_wish
from localk8s.drivers.base import Driver, SupportsKubectl, SupportsLogs, SupportsReach
from localk8s.model.errors import (
    Localk8sError,
    NotFoundError,
    NotSupportedError,
    PrerequisiteError,
    WrongStateError,
)
from localk8s.model.hints import command, host_command
from localk8s.model.names import DEFAULT_CLUSTER, check_cluster_name
from localk8s.model.node import Node
from localk8s.model.progress import Reporter, SilentReporter
from localk8s.model.spec import ClusterSpec
from localk8s.model.status import ClusterState, ClusterStatus, NodeState
from localk8s.store.records import CorruptRecordError, Record
from localk8s.wiring import Installation

if TYPE_CHECKING:
    from localk8s.helpers.demo import DemoResult
    from localk8s.kube.rest import RestClient

_WITHOUT_API = {"config", "completion", "help", "kustomize", "options", "plugin", "--client", "--help", "-h"}
"""By these words kubectl is known to ask no API server."""


class Cluster(Uses, Builds, Dockers, Members, Exports):
    """A Kubernetes cluster on this machine, there or not.

    ::

        from localk8s import Cluster

        cluster = Cluster("hello")
        cluster.start(nodes=2, memory="2g")
        print(cluster.demo().url)
        cluster.delete()

    Args:
        name: 1 to 40 lower-case letters, digits and inner dashes.
        installation: where and with what; this user's own when None.
        report: told about progress; nobody when None.

    Raises:
        UsageError: no cluster can have that name.
    """

    def __init__(
        self, name: str = DEFAULT_CLUSTER, *, installation: Installation | None = None, report: Reporter | None = None
    ) -> None:
        self.name = check_cluster_name(name)
        self._installation = installation or Installation()
        self._report: Reporter = report or SilentReporter()

    def start(
        self,
        *,
        driver: str | None = None,
        nodes: int | None = None,
        control_planes: int | None = None,
        cpus: str | float | None = None,
        memory: str | None = None,
        disk_size: str | None = None,
        kubernetes_version: str | None = None,
        artifacts: str | Path | None = None,
        options: Mapping[str, str] | None = None,
        keep_on_failure: bool = False,
        merge: bool = True,
    ) -> Plan:
        """Create the cluster, or bring it to Running again.

        What is left out stays as recorded, or gets the default. Sizes are per node.

        Args:
            driver: ``native``, ``minikube``, ``vagrant``; chosen for this host when left out.
            nodes: machines together.
            control_planes: how many of them carry the control plane.
            cpus: processors, such as ``2`` or ``"0.5"``.
            memory: such as ``"4g"``; a bare number is MiB.
            disk_size: such as ``"20g"``.
            kubernetes_version: such as ``"1.36.3"``; the newest that a source can give when left out.
            artifacts: a directory or bundle with the Kubernetes programs.
            options: what only this driver has.
            keep_on_failure: keep what a failed create made.
            merge: make it the current context of the user's kubeconfig.

        Returns:
            what was done.

        Raises:
            WrongStateError: it exists with something that cannot be changed; or another process works on it.
            PrerequisiteError, ArtifactError, CommandError, WaitTimeoutError, …: see ``model.errors``.
        """
        size = {"cpus": None if cpus is None else str(cpus), "memory": memory, "disk_size": disk_size}
        what = {"driver": driver, "kubernetes_version": kubernetes_version, **size}
        wish = parse_wish(nodes=nodes, control_planes=control_planes, artifacts=artifacts, options=options, **what)
        return self.start_as(wish, recipe.StartOptions(keep_on_failure=keep_on_failure, merge=merge))

    def start_as(
        self, wish: Wish, options: recipe.StartOptions | None = None, *, announce: Callable[[Plan], None] | None = None
    ) -> Plan:
        """As ``start``, from a parsed wish; ``announce`` is called with the plan before anything is done."""
        options = options or recipe.StartOptions()
        plan = recipe.start(self._installation, self.name, wish, options, self._report, announce or (lambda plan: None))
        self.__dict__.pop("_record", None)
        if not options.dry_run:
            self.bring_up_to_date()
        return plan

    def stop(self) -> None:
        """Switch all machines off and keep their data. Stopping what is stopped succeeds.

        Raises:
            NotFoundError: there is no such cluster.
        """
        recipe.stop(self._installation, self.name, self._report)

    def delete(self) -> bool:
        """Remove every trace of it. Deleting what is not there, or half there, succeeds.

        Returns:
            whether there was such a cluster.
        """
        from localk8s.cluster.host_names import withdraw_names

        withdraw_names(self._installation, self.name, self._report)
        existed = recipe.delete(self._installation, self.name, self._report)
        self.__dict__.pop("_record", None)
        return existed

    def exists(self) -> bool:
        """Whether there is a record of it, readable or not."""
        return self.name in self._installation.records.names()

    def status(self) -> ClusterStatus:
        """What is there now; takes two seconds at most.

        Raises:
            NotFoundError: there is no such cluster. Any other trouble is a state with its reasons.
        """
        try:
            spec = self._record.spec
        except CorruptRecordError as exc:
            reason = f"{exc.message} {command('delete', cluster=self.name)} clears it."
            return ClusterStatus(self.name, "unknown", ClusterState.BROKEN, None, reasons=(reason,))
        try:
            status = self._driver.inspect(spec)
        except NotFoundError:
            return self._nothing_there(spec)
        except (Localk8sError, OSError) as exc:
            return ClusterStatus(self.name, spec.driver, ClusterState.UNKNOWN, spec.kubernetes_version, reasons=(str(exc),))
        whole = self._record.created and not self._record.deleting
        return status if whole else self._incomplete(status)

    def _nothing_there(self, spec: ClusterSpec) -> ClusterStatus:
        go_on, clear = command("start", cluster=self.name), command("delete", cluster=self.name)
        reason = f"Its machines are gone: {go_on} creates them again, {clear} removes the cluster."
        state = ClusterState.BROKEN
        if self._record.deleting:
            state, reason = ClusterState.INCOMPLETE, f"Deleting it was interrupted: {clear} finishes."
        elif not self._record.created:
            state, reason = ClusterState.INCOMPLETE, f"Creating it was interrupted: {go_on} finishes, {clear} clears."
        return ClusterStatus(self.name, spec.driver, state, spec.kubernetes_version, reasons=(reason,))

    def _incomplete(self, status: ClusterStatus) -> ClusterStatus:
        go_on, clear = command("start", cluster=self.name), command("delete", cluster=self.name)
        reason = f"Creating it was interrupted, or still goes on: {go_on} finishes, {clear} clears."
        if self._record.deleting:
            reason = f"Deleting it was interrupted, or still goes on: {clear} finishes."
        return replace(status, state=ClusterState.INCOMPLETE, reasons=(reason, *status.reasons))

    def choice(self) -> Choice:
        """Its driver and why it was chosen, when the cluster was created.

        Raises:
            NotFoundError: there is no such cluster.
            CorruptRecordError: its record cannot be read.
        """
        source = self._record.driver_source
        return Choice(self._record.spec.driver, source or "recorded")

    @property
    def spec(self) -> ClusterSpec:
        """What it was created from; errors as for ``choice``."""
        return self._record.spec

    def nodes(self) -> tuple[Node, ...]:
        """Its machines, control planes first; each runs commands. Errors as for ``choice``."""
        return self._driver.nodes(self.spec)

    def node(self, name: str = "") -> Node:
        """The node called ``name``; the first control plane when empty.

        Raises:
            NotFoundError: there is no such cluster or node.
        """
        nodes = self.nodes()
        for node in nodes:
            if name in ("", node.name):
                return node
        known = ", ".join(node.name for node in nodes) or "none"
        raise NotFoundError(
            f'Cluster "{self.name}" has no node {name!r}: there are {known}.', hint=command("status", cluster=self.name)
        )

    def _running(self) -> tuple[tuple[Node, ...], tuple[str, ...]]:
        """The nodes that are not switched off, and the names of the others.

        Raises:
            WrongStateError: all of them are.
        """
        nodes = self.nodes()
        if len(nodes) == 1:
            return nodes, ()  # whatever is asked of it will find out
        stopped = {node.name for node in self.status().nodes if node.state is NodeState.STOPPED}
        running = tuple(node for node in nodes if node.name not in stopped)
        if not running:
            raise WrongStateError(f'Cluster "{self.name}" is stopped.', hint=command("start", cluster=self.name))
        return running, tuple(node.name for node in nodes if node.name in stopped)

    def _switched_on(self, name: str, off: Sequence[str]) -> Node:
        """The node called ``name`` (the first when empty), which must not be one of ``off``.

        Raises:
            NotFoundError: there is no such node.
            WrongStateError: it is off.
        """
        node = self.node(name)
        if node.name in off:
            raise WrongStateError(f"Node {node.name} is off.", hint=command("node start", node.name, cluster=self.name))
        return node

    def kubeconfig(self) -> str:
        """A kubeconfig (YAML, certificates embedded) with the one context ``localk8s-NAME``.

        Raises:
            NotFoundError: there is no such cluster.
            WrongStateError: it has none yet.
        """
        with recipe.clear_errors():
            return kept(self._installation, self.spec, self._driver)

    def merge_kubeconfig(self) -> None:
        """Merge its context into the user's kubeconfig, and make it current. Errors as for ``kubeconfig``."""
        with recipe.clear_errors():
            publish(self._installation, self.spec, self._driver, merge=True)

    def remove_kubeconfig(self) -> None:
        """Remove its entries from the user's kubeconfig files. Removing what is not there succeeds."""
        with recipe.clear_errors():
            withdraw(self._installation, self.name)

    def client(self, *, timeout: float = 10.0) -> RestClient:
        """A client of its API server; errors as for ``kubeconfig``, and WrongStateError at once where it does not run."""
        from localk8s.kube.rest import RestClient

        text = self.kubeconfig()
        self._check_reachable()
        return RestClient.from_kubeconfig(text, timeout=timeout)

    def _check_reachable(self) -> None:
        """Before anything dials an address of it: see ``SupportsReach``."""
        driver = self._driver
        if isinstance(driver, SupportsReach):
            try:
                driver.check_reachable(self.spec)
            except WrongStateError as exc:
                exc.hint = exc.hint or command("start", cluster=self.name)
                raise

    def kubectl(self, arguments: Sequence[str]) -> int:
        """Run kubectl on this process's terminal, against this cluster, and return its exit code.

        Raises:
            NotFoundError: there is no such cluster.
            WrongStateError: it does not run.
            PrerequisiteError: there is no kubectl on PATH or beside the cluster.
        """
        self.kubeconfig()
        if not _WITHOUT_API.intersection(arguments):
            self._check_reachable()
        file = self._installation.layout.kubeconfig(self.name)
        return self._installation.runner().foreground([self.kubectl_program(), *arguments], env={"KUBECONFIG": str(file)})

    def kubectl_program(self) -> str:
        """Path of the kubectl that fits the cluster best: of its own version, or the one on PATH.

        Raises:
            PrerequisiteError: there is none.
        """
        driver = self._driver
        own = driver.kubectl(self.spec) if isinstance(driver, SupportsKubectl) else None
        program = str(own) if own else shutil.which("kubectl", path=self._installation.environment.text("PATH"))
        if program is None:
            raise PrerequisiteError("There is no kubectl on this host.", hint=host_command("setup"))
        return program

    def logs(self, node: str = "", *, lines: int = 50) -> str:
        """The last lines of what each component on a node wrote.

        Args:
            node: its name; the first control plane when empty.
            lines: how many of each component.

        Raises:
            NotFoundError: there is no such cluster or node.
            NotSupportedError: this driver cannot tell.
        """
        driver = self._driver
        if not isinstance(driver, SupportsLogs):
            raise NotSupportedError(
                f"The {self.spec.driver} driver has no component logs.",
                hint=command("logs", "--run", "last", cluster=self.name),
            )
        return driver.logs(self.spec, self.node(node).name, lines)

    def run_log(self) -> str:
        """What the commands on this cluster ran and what that printed, oldest first; empty when there is none.

        Also after a start that failed and was taken back.
        """
        path = self._installation.layout.log(self.name)
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def demo(self, *, replicas: int = 2, image: str | None = None) -> DemoResult:
        """Deploy the echo server behind a NodePort, ask it over HTTP and return the answer.

        Args:
            replicas: pods.
            image: another image than the built-in echo server; it must serve HTTP on port 8080.

        Raises:
            WrongStateError: the cluster is not running; or the demo's containers end.
            ArtifactError: the image cannot be pulled.
            WaitTimeoutError, KubernetesError: it did not come up. What did not come up was taken back.
        """
        from localk8s.helpers.demo import run_demo

        with self._asked() as client:
            address = self.node().address
            return run_demo(client, address, replicas=replicas, image=image, report=self._report, cluster=self.name)

    def delete_demo(self) -> None:
        """Remove what ``demo`` deployed. Removing what is not there succeeds."""
        from localk8s.helpers.demo import delete_demo

        with self._asked() as client:
            delete_demo(client, self._report)

    @cached_property
    def _record(self) -> Record:
        return self._installation.records.load(self.name)

    @property
    def _driver(self) -> Driver:
        log = self._installation.layout.log(self.name)
        return self._installation.driver(self.spec.driver, self._installation.runner(log if log.parent.is_dir() else None))
