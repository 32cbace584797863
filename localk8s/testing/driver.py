"""A driver that makes no machines but keeps the whole contract, on disk, so that separate processes see one cluster.

For tests of what stands above drivers, and for failures that no real machine makes on demand. What it shall do wrong is
said in its context's environment::

    LOCALK8S_FAKE_FAIL=boot      the step "boot" fails (several: ``boot,delete``)
    LOCALK8S_FAKE_PARTIAL=ready  the step "ready" fails, and what was made is worth keeping
    LOCALK8S_FAKE_SLOW=boot:30   the step "boot" takes 30 seconds
    LOCALK8S_FAKE_LACKS=memory   ``check`` finds an error
    LOCALK8S_FAKE_BUG=boot       the step "boot" raises what nobody expects

Offered as a plugin by an entry point ``fake = "localk8s.testing:build"`` in the group ``localk8s.drivers``.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from localk8s.drivers.base import Change, DriverContext, DriverInfo, Feature
from localk8s.model.errors import Localk8sError, NotFoundError, UsageError, WrongStateError
from localk8s.model.hints import command, host_command
from localk8s.model.names import node_name
from localk8s.model.node import Node
from localk8s.model.progress import Reporter
from localk8s.model.quantities import format_change
from localk8s.model.spec import ClusterSpec
from localk8s.model.status import ClusterState, ClusterStatus, Finding, NodeRole, NodeState, NodeStatus, Severity
from localk8s.model.versions import KubernetesVersion
from localk8s.system.files import write_atomic
from localk8s.testing.node import FakeNode

VERSION = KubernetesVersion(1, 36, 3)
STEPS = (("boot", "booting nodes"), ("init", "starting the control plane"), ("ready", "waiting for API, nodes and DNS"))
_KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: fake
clusters: [{{name: fake, cluster: {{server: "https://127.0.0.1:{port}", insecure-skip-tls-verify: true}}}}]
users: [{{name: fake, user: {{token: {token}}}}}]
contexts: [{{name: fake, context: {{cluster: fake, user: fake}}}}]
"""


def build(context: DriverContext) -> FakeDriver:
    """The driver, as the registry builds it."""
    return FakeDriver(context.directory, context.environment)


class FakeDriver:
    """A ``Driver`` whose machines are a file.

    Args:
        directory: where it keeps its clusters.
        knobs: what it shall do wrong; see the module.
    """

    info = DriverInfo(
        name="fake",
        title="fake (for tests)",
        features=frozenset(
            {
                Feature.MULTI_NODE,
                Feature.NODE_ADD,
                Feature.NODE_DELETE,
                Feature.NODE_STOP,
                Feature.SSH,
                Feature.COPY,
                Feature.NO_WAIT,
            }
        ),
        platforms=frozenset({"linux", "darwin", "win32"}),
        options=frozenset({"colour"}),
    )

    def __init__(self, directory: Path, knobs: Mapping[str, str] | None = None) -> None:
        self._directory = directory
        self._knobs = knobs or {}

    def check(self, spec: ClusterSpec) -> tuple[Finding, ...]:
        """What the knob says is lacking."""
        lacks = self._knobs.get("LOCALK8S_FAKE_LACKS")
        if lacks:
            return (
                Finding(Severity.ERROR, lacks, f"There is not enough {lacks} for {spec.nodes} nodes.", host_command("doctor")),
            )
        return (Finding(Severity.OK, "fake", "Nothing is needed."),)

    def complete(self, spec: ClusterSpec) -> ClusterSpec:
        """Fill in the version; the only option is ``colour``."""
        unknown = sorted(set(spec.options) - {"colour"})
        if unknown:
            raise UsageError(f"The fake driver has no option {unknown[0]}.", hint=host_command("start", "--help"))
        return dataclasses.replace(spec, kubernetes_version=spec.kubernetes_version or VERSION)

    def changes(self, recorded: ClusterSpec, wanted: ClusterSpec) -> tuple[Change, ...]:
        """Memory changes live; node counts grow; of the rest it says nothing."""
        found = []
        if recorded.size.memory != wanted.size.memory:
            found.append(Change("memory", *format_change(recorded.size.memory, wanted.size.memory), live=True))
        if recorded.nodes != wanted.nodes:
            grows = wanted.nodes > recorded.nodes
            found.append(Change("nodes", str(recorded.nodes), str(wanted.nodes), grows, "" if grows else "data would be lost"))
        return tuple(found)

    def create(self, spec: ClusterSpec, report: Reporter) -> None:
        """Go through the steps, writing after each what is there."""
        state = self._load(spec.name) or {"addresses": f"192.0.2.{10 + len(list(self._directory.glob('*.json')))}"}
        state["off"] = []
        for key, title in STEPS:
            with report.step(key, title) as step:
                self._misbehave(key)
                self._save(spec.name, {**state, "state": "starting", "nodes": spec.nodes, "memory": spec.size.memory})
                if key == "boot":
                    step.finish_as(f"booted {spec.nodes} nodes")
        self._save(spec.name, {**state, "state": "running", "nodes": spec.nodes, "memory": spec.size.memory})

    def start(self, spec: ClusterSpec, report: Reporter) -> None:
        """As ``create``."""
        self.create(spec, report)

    def stop(self, spec: ClusterSpec, report: Reporter) -> None:
        """Keep everything but the state."""
        with report.step("stop", "stopping") as step:
            self._misbehave("stop")
            state = self._load(spec.name)
            if state:
                self._save(spec.name, {**state, "state": "stopped"})
            step.finish_as("stopped")

    def delete(self, name: str, report: Reporter) -> None:
        """Forget the cluster."""
        with report.step("delete", "deleting") as step:
            self._misbehave("delete")
            self._file(name).unlink(missing_ok=True)
            if self._directory.is_dir() and not any(self._directory.iterdir()):
                shutil.rmtree(self._directory)
            step.finish_as("deleted")

    def inspect(self, spec: ClusterSpec) -> ClusterStatus:
        """What the file says."""
        state = self._load(spec.name)
        if state is None:
            raise NotFoundError(f'The fake driver has no cluster "{spec.name}".')
        cluster = ClusterState(state["state"])
        node = NodeState.READY if cluster is ClusterState.RUNNING else NodeState.STOPPED
        size = dataclasses.replace(spec.size, memory=state["memory"])
        off = state.get("off", [])
        nodes = tuple(
            NodeStatus(each.name, each.role, NodeState.STOPPED if each.name in off else node, each.address, size)
            for each in self._nodes(spec.name, state)
        )
        return ClusterStatus(
            name=spec.name,
            driver="fake",
            state=ClusterState.BROKEN if off and cluster is ClusterState.RUNNING else cluster,
            kubernetes_version=spec.kubernetes_version,
            nodes=nodes,
            endpoint="https://127.0.0.1:1",
        )

    def nodes(self, spec: ClusterSpec) -> tuple[Node, ...]:
        """Fake nodes."""
        return self._nodes(spec.name, self._load(spec.name) or {"nodes": 0})

    def kubeconfig(self, spec: ClusterSpec) -> str:
        """One that points at a port nobody listens on, or at ``LOCALK8S_FAKE_PORT``."""
        if self._load(spec.name) is None:
            raise WrongStateError(f'Cluster "{spec.name}" has no kubeconfig yet.', hint=command("start", cluster=spec.name))
        return _KUBECONFIG.format(port=self._knobs.get("LOCALK8S_FAKE_PORT", "1"), token=f"token-of-{spec.name}")

    def leftovers(self, known: Sequence[str]) -> tuple[Finding, ...]:
        """Files of clusters without a record."""
        lost = sorted({path.stem for path in self._directory.glob("*.json")} - set(known))
        return tuple(
            Finding(Severity.WARNING, "leftovers", f'Leftovers of cluster "{name}".', command("delete", cluster=name))
            for name in lost
        )

    def add_node(self, spec: ClusterSpec, report: Reporter) -> ClusterSpec:
        """One worker more."""
        with report.step("node", "adding a node") as step:
            self._misbehave("node")
            state = self._load(spec.name) or {}
            self._save(spec.name, {**state, "nodes": spec.nodes + 1})
            step.finish_as("added a node")
        return dataclasses.replace(spec, nodes=spec.nodes + 1)

    def delete_node(self, spec: ClusterSpec, node: str, report: Reporter) -> ClusterSpec:
        """One node less; the others keep their names."""
        state = self._load(spec.name) or {"nodes": 0, "state": "stopped"}
        known = {each.name: each for each in self._nodes(spec.name, state)}
        if node not in known:
            raise NotFoundError(f"There is no node {node}.")
        if state["state"] != "running":
            raise WrongStateError("No control plane runs.", hint=command("start", cluster=spec.name))
        with report.step("node", f"removing {node}") as step:
            self._misbehave("drain")
            gone = [*state.get("gone", []), int(known[node].address.rpartition(".")[2]) - 9]
            off = [name for name in state.get("off", []) if name != node]
            self._save(spec.name, {**state, "nodes": state["nodes"] - 1, "gone": gone, "off": off})
            self._misbehave("forget")
            step.finish_as(f"removed {node}")
        return dataclasses.replace(spec, nodes=spec.nodes - 1)

    def stop_node(self, spec: ClusterSpec, node: str, report: Reporter) -> None:
        """One node off."""
        self._switch(spec.name, lambda off: {*off, node})

    def start_node(self, spec: ClusterSpec, node: str, report: Reporter) -> None:
        """One node on."""
        self._switch(spec.name, lambda off: off - {node})

    def _switch(self, name: str, change: Callable[[set[str]], set[str]]) -> None:
        state = self._load(name) or {}
        self._save(name, {**state, "off": sorted(change(set(state.get("off", []))))})

    def logs(self, spec: ClusterSpec, node: str, lines: int) -> str:
        """One line of one component."""
        return f"==> kubelet <==\n{node} is fine\n"

    def _nodes(self, name: str, state: Mapping[str, Any]) -> tuple[FakeNode, ...]:
        gone = state.get("gone", [])
        indices = [index for index in range(1, state["nodes"] + len(gone) + 1) if index not in gone][: state["nodes"]]
        return tuple(
            FakeNode(node_name(name, index), NodeRole.CONTROL_PLANE if index == 1 else NodeRole.WORKER, f"192.0.2.{9 + index}")
            for index in indices
        )

    def _misbehave(self, key: str) -> None:
        slow, _, seconds = self._knobs.get("LOCALK8S_FAKE_SLOW", "").partition(":")
        if slow == key:
            time.sleep(float(seconds))
        if key in self._knobs.get("LOCALK8S_FAKE_FAIL", "").split(","):
            raise Localk8sError(f"The fake driver failed at {key}, as it was told to.")
        if key == self._knobs.get("LOCALK8S_FAKE_PARTIAL"):
            partial = Localk8sError(f"The fake driver came as far as {key}, as it was told to.")
            partial.resumable = True
            raise partial
        if self._knobs.get("LOCALK8S_FAKE_BUG") == key:
            raise ZeroDivisionError("nobody expects this")

    def _file(self, name: str) -> Path:
        return self._directory / f"{name}.json"

    def _load(self, name: str) -> dict[str, Any] | None:
        try:
            content: dict[str, Any] = json.loads(self._file(name).read_text())
        except FileNotFoundError:
            return None
        return content

    def _save(self, name: str, state: Mapping[str, Any]) -> None:
        write_atomic(self._file(name), json.dumps(dict(state)))
