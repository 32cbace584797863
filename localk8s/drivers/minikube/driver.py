"""The minikube driver: the driver contract kept by a user's own minikube.

Owns nothing but the contract's methods; recipes, judgements and command lines are in the modules beside it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from localk8s.drivers.base import Change, DriverContext, DriverInfo, Feature, Tool
from localk8s.drivers.image_tool import ImageTool
from localk8s.drivers.minikube import arguments, cache, checks, drift, lifecycle, members, prefill, serving
from localk8s.drivers.minikube.checks import has_default_route
from localk8s.drivers.minikube.choice import Chooser, kubernetes_version, node_size
from localk8s.drivers.minikube.claim import Claims
from localk8s.drivers.minikube.docker_env import parse_docker_env, refuse_docker_env
from localk8s.drivers.minikube.environment import minikube_environment
from localk8s.drivers.minikube.image_tool import MinikubeImages
from localk8s.drivers.minikube.inspect import inspect
from localk8s.drivers.minikube.kubeconfig import read_kubeconfig
from localk8s.drivers.minikube.machines import kubernetes_name
from localk8s.drivers.minikube.options import OPTION_NAMES, Options, normalize, parse_options
from localk8s.drivers.minikube.profile import Home, find_home
from localk8s.drivers.minikube.session import Session, refuse_foreign, refuse_machine_names, refuse_replaced
from localk8s.drivers.minikube.tool import QUESTION, Minikube, candidates
from localk8s.drivers.minikube.versions import FLOOR
from localk8s.drivers.minikube.vm_drivers import Kind, VmDriver, profile_name, refuse_nodes, vm_driver
from localk8s.model import hints
from localk8s.model.errors import Localk8sError, NotFoundError, NotSupportedError, UsageError
from localk8s.model.node import Node
from localk8s.model.progress import Reporter
from localk8s.model.spec import ClusterSpec
from localk8s.model.status import ClusterStatus, Finding, NodeRole, Severity

_FEATURES = frozenset(
    {
        Feature.MULTI_NODE,
        Feature.CONTROL_PLANES,
        Feature.NODE_ADD,
        Feature.NODE_DELETE,
        Feature.NODE_STOP,
        Feature.SSH,
        Feature.COPY,
        Feature.DOCKER_ENV,
        Feature.IMAGES,
        Feature.MOUNT,
        Feature.DASHBOARD,
        Feature.PAUSE,
        Feature.NO_WAIT,
    }
)
_NEED_SEVERAL = frozenset(
    {Feature.MULTI_NODE, Feature.CONTROL_PLANES, Feature.NODE_ADD, Feature.NODE_DELETE, Feature.NODE_STOP}
)
_OWN_SECTIONS = ("==> Audit <==", "==> Last Start <==")


class MinikubeDriver:
    """A ``Driver`` on minikube.

    Args:
        context: all that it is handed; nothing is looked at before a method is called.
    """

    info = DriverInfo(
        name="minikube",
        title="minikube (whatever it is set up with on this host)",
        features=_FEATURES,
        platforms=frozenset({"linux", "darwin", "win32"}),
        tools=(Tool("minikube", str(FLOOR).removeprefix("v")),),
        options=frozenset(OPTION_NAMES),
    )

    def __init__(self, context: DriverContext) -> None:
        self._context = context
        self._claims = Claims(context.directory)

    def features_of(self, spec: ClusterSpec) -> frozenset[Feature]:
        """The features that a cluster of ``spec`` really has: minikube's own drivers differ. No I/O."""
        driver = parse_options(spec.options).driver
        features = set(_FEATURES)
        if driver is not None and not driver.several_nodes:
            features -= _NEED_SEVERAL
        if driver is not None and driver.kind is Kind.NONE:
            features = (features - {Feature.SSH, Feature.DOCKER_ENV, Feature.MOUNT}) | {Feature.HOST_ROUTES}
        return frozenset(features)

    def check(self, spec: ClusterSpec) -> tuple[Finding, ...]:
        """See ``Driver.check``."""
        try:
            options = self._wished(spec)
        except Localk8sError as exc:  # completing the spec refuses it, with the error that it deserves
            return (Finding(Severity.WARNING, "options", exc.message, exc.hint),)
        home = self._home()
        facts = self._context.host.facts()
        around = checks.Surroundings(
            self._tool(home, self._context.directory / "kubeconfig"),
            self._chooser(home),
            home,
            self._context.environment,
            facts,
            self._offline,
        )
        return checks.look(spec, options, around)

    def complete(self, spec: ClusterSpec) -> ClusterSpec:
        """See ``Driver.complete``."""
        wished = normalize(spec.options, self._settings_for(spec))
        if key := wished.get("ssh-key"):
            wished["ssh-key"] = str(Path(key).expanduser().absolute())
        options = parse_options(wished)
        home = self._home()
        chooser = self._chooser(home)
        driver = chooser.driver(options)
        refuse_nodes(driver, spec.nodes, spec.control_planes, spec.name)
        size = node_size(spec, driver)
        tool = self._tool(home, self._context.directory / "kubeconfig")
        if spec.control_planes > 1 and not tool.version.several_control_planes:
            raise NotSupportedError(
                f"minikube {tool.version} makes one control plane only: several need v1.33.",
                hint="localk8s setup --driver minikube",
            )
        version = kubernetes_version(spec, tool, self._context.artifacts)
        wished["vm-driver"] = driver.name
        wished["container-runtime"] = chooser.runtime(options, driver, version, spec.name)
        if driver.kind in (Kind.NONE, Kind.SSH) and wished["container-runtime"] != "docker":
            wished.setdefault("cni", "bridge")  # what minikube would choose: no image has to be pulled for it
        session = self._claimed(spec.name, driver)
        refuse_foreign(session)
        refuse_machine_names(session, spec.nodes)
        completed = replace(spec, kubernetes_version=version, size=size, options=wished)
        if session.config() is None:
            architecture = self._context.host.facts().architecture
            prefill.check(session, completed, parse_options(wished), driver, self._context.artifacts, architecture)
        return completed

    def changes(self, recorded: ClusterSpec, wanted: ClusterSpec) -> tuple[Change, ...]:
        """See ``Driver.changes``."""
        return drift.spec_changes(recorded, wanted)

    def create(self, spec: ClusterSpec, report: Reporter) -> None:
        """See ``Driver.create``."""
        options = parse_options(spec.options)
        driver = options.driver or vm_driver("docker")
        wanted = lifecycle.Wanted(
            spec=spec,
            options=replace(options, offline=options.offline or self._offline or spec.artifacts is not None),
            driver=driver,
            wait=self._context.wait,
            architecture=self._context.host.facts().architecture,
        )
        lifecycle.start(self._session(spec, driver), wanted, self._context.artifacts, report)

    def start(self, spec: ClusterSpec, report: Reporter) -> None:
        """See ``Driver.start``."""
        self.create(spec, report)

    def stop(self, spec: ClusterSpec, report: Reporter) -> None:
        """See ``Driver.stop``."""
        lifecycle.stop(self._session(spec), parse_options(spec.options), report)

    def pause(self, spec: ClusterSpec) -> None:
        """Freeze the cluster's containers; the machines stay up."""
        lifecycle.pause(self._session(spec))

    def unpause(self, spec: ClusterSpec) -> None:
        """Let a frozen cluster go on."""
        lifecycle.pause(self._session(spec), resume=True)

    def delete(self, name: str, report: Reporter) -> None:
        """See ``Driver.delete``."""
        lifecycle.delete(self._claimed(name, None), report)

    def inspect(self, spec: ClusterSpec) -> ClusterStatus:
        """See ``Driver.inspect``."""
        return inspect(self._session(spec), spec)

    def nodes(self, spec: ClusterSpec) -> tuple[Node, ...]:
        """See ``Driver.nodes``."""
        session = self._session(spec)
        return session.nodes(session.existing())

    def kubeconfig(self, spec: ClusterSpec) -> str:
        """See ``Driver.kubeconfig``."""
        session = self._session(spec)
        refuse_replaced(session)
        return read_kubeconfig(session.kubeconfig, session.profile, session.cluster)

    def refuse_replaced(self, spec: ClusterSpec) -> None:
        """See ``SupportsOwnership``: a profile made afterwards has the same authority, and an old kubeconfig works on it."""
        refuse_replaced(self._session(spec))

    def leftovers(self, known: Sequence[str]) -> tuple[Finding, ...]:
        """See ``Driver.leftovers``."""
        orphans = {cluster for cluster, _ in self._claims.orphans(self._home())}
        lost = sorted({*orphans, *self._claims.clusters()} - set(known))
        return tuple(
            Finding(
                Severity.WARNING,
                "leftovers",
                f'Leftovers of cluster "{name}" in minikube.',
                hints.command("delete", cluster=name),
            )
            for name in lost
        )

    def add_node(self, spec: ClusterSpec, report: Reporter) -> ClusterSpec:
        """See ``SupportsNodes``."""
        session = self._session(spec)
        lifecycle.add_node(session, vm_driver(session.existing().driver), report)
        return replace(spec, nodes=len(session.existing().nodes))

    def delete_node(self, spec: ClusterSpec, node: str, report: Reporter) -> ClusterSpec:
        """See ``SupportsNodes``."""
        session = self._session(spec)
        machine = next((machine for machine in self.nodes(spec) if machine.name == node), None)
        if machine is None:
            raise NotFoundError(f'Cluster "{spec.name}" has no node {node!r}.', hint=session.command("node list"))
        if machine.role is NodeRole.CONTROL_PLANE:
            raise UsageError(f"{node} is the control plane: without it there is no cluster.", hint=session.command("delete"))
        lifecycle.delete_node(session, node, report)
        return replace(spec, nodes=len(session.existing().nodes))

    def stop_node(self, spec: ClusterSpec, node: str, report: Reporter) -> None:
        """See ``SupportsNodeStop``."""
        members.stop(self._session(spec), node, report)

    def start_node(self, spec: ClusterSpec, node: str, report: Reporter) -> None:
        """See ``SupportsNodeStop``."""
        members.start(self._session(spec), node, report)

    def install(self, report: Reporter) -> None:
        """See ``SupportsInstall``: a pinned minikube, unless a usable one is there."""
        from localk8s.drivers.minikube.setup import install

        context = self._context
        facts, tools = context.host.facts(), context.layout.tools
        install(context.runner, tools, context.settings, facts, context.environment, report, offline=self._offline)

    def containerd(self, spec: ClusterSpec) -> tuple[str, ...]:
        """See ``SupportsContainerd``."""
        runtime = self._session(spec).existing().runtime
        if runtime != "containerd":
            raise NotSupportedError(
                f"The nodes run on {runtime or 'an unknown runtime'}, not on containerd.",
                hint="localk8s start -c another --driver minikube --driver-option container-runtime=containerd",
            )
        return ("ctr", "--namespace", "k8s.io")

    def image_tool(self, spec: ClusterSpec) -> ImageTool | None:
        """See ``SupportsImageTool``."""
        session = self._session(spec)
        return None if session.existing().runtime == "containerd" else MinikubeImages(session)

    def mount(self, spec: ClusterSpec, node: str, source: Path, target: str) -> None:
        """See ``SupportsMount``: on the first node, for as long as minikube serves it."""
        serving.mount(self._session(spec), node, source, target)

    def unmount(self, spec: ClusterSpec, node: str, target: str) -> None:
        """See ``SupportsMount``."""
        serving.unmount(self._session(spec), node, target)

    def dashboard(self, spec: ClusterSpec, port: int) -> AbstractContextManager[str]:
        """See ``SupportsDashboard``."""
        return serving.dashboard(self._session(spec), port)

    def kubectl(self, spec: ClusterSpec) -> Path | None:
        """See ``SupportsKubectl``: the one in minikube's cache."""
        if spec.kubernetes_version is None:
            return None
        architecture = self._context.host.facts().architecture
        program = cache.program_directory(self._home_of(spec.name), spec.kubernetes_version, architecture) / "kubectl"
        return program if program.is_file() else None

    def logs(self, spec: ClusterSpec, node: str, lines: int) -> str:
        """See ``SupportsLogs``."""
        session = self._session(spec)
        config = session.existing()
        driver = vm_driver(config.driver)
        machine = next((n for n in config.nodes if node in (kubernetes_name(config, n, driver), config.machine_name(n))), None)
        if machine is None:
            raise NotFoundError(f'Cluster "{spec.name}" has no node {node!r}.', hint=session.command("node list"))
        argv = arguments.logs(session.profile, config.machine_name(machine), lines)
        return component_logs(session.plain(argv, doing="show the logs", timeout=2 * QUESTION).stdout)

    def docker_environment(self, spec: ClusterSpec) -> dict[str, str]:
        """The variables with which ``docker`` on this host talks to the cluster's docker.

        Raises:
            NotSupportedError: this cluster has none that can be reached; the hint says what to do instead.
            WrongStateError: it is stopped.
        """
        session = self._session(spec)
        config = session.existing()
        refuse_docker_env(config, vm_driver(config.driver), session.tool.version, session.cluster)
        done = session.tool.run(arguments.docker_env(session.profile), timeout=2 * QUESTION)
        return parse_docker_env(done, spec.name)

    @cached_property
    def _offline(self) -> bool:
        """Whether nothing may be fetched, or could be."""
        said = self._context.environment.get("LOCALK8S_OFFLINE", "").lower()
        return said in ("1", "true", "yes", "on") or (said == "" and not has_default_route())

    def _settings_for(self, spec: ClusterSpec) -> dict[str, str]:
        """The configuration's section; a cluster that is there keeps what it was made with."""
        return {} if self._claims.load(spec.name) else dict(self._context.settings)

    def _wished(self, spec: ClusterSpec) -> Options:
        return parse_options(normalize(spec.options, self._settings_for(spec)))

    def _home(self) -> Home:
        return find_home(self._context.environment, self._context.settings.get("home", ""))

    def _home_of(self, cluster: str) -> Home:
        claim = self._claims.load(cluster)
        return Home(Path(claim.home)) if claim else self._home()

    def _chooser(self, home: Home) -> Chooser:
        return Chooser(self._context.runner, self._context.environment, home, self._context.host.facts().platform)

    def _tool(self, home: Home, kubeconfig: Path) -> Minikube:
        context = self._context
        programs = candidates(context.environment, context.layout.tools, context.settings.get("binary", ""))
        return Minikube(context.runner, programs, minikube_environment(context.environment, home, kubeconfig))

    def _session(self, spec: ClusterSpec, driver: VmDriver | None = None) -> Session:
        return self._claimed(spec.name, driver or parse_options(spec.options).driver)

    def _claimed(self, cluster: str, driver: VmDriver | None) -> Session:
        """The session of a cluster; what it laid claim to counts more than what its spec says."""
        claim, home = self._claims.load(cluster), self._home_of(cluster)
        orphan = None if claim else dict(self._claims.orphans(home)).get(cluster)
        profile = claim.profile if claim else orphan or profile_name(cluster, driver)
        vm = claim.vm_driver if claim else driver.name if driver else ""
        tool = self._tool(home, self._claims.kubeconfig(cluster))
        return Session(cluster, profile, vm, home, self._claims, tool, self._context.runner)


def component_logs(text: str) -> str:
    """What ``minikube logs`` printed without the sections about minikube's own commands, which come first. Pure."""
    sections = re.split(r"^(?===> )", text, flags=re.MULTILINE)
    return "".join(section for section in sections if not section.startswith(_OWN_SECTIONS)).lstrip("\n")
