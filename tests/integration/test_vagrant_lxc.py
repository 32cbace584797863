"""Machines of LXC for real: one story on one cluster, with everything that goes wrong on the way.

The tests run in the order in which they stand. Nothing is left at the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from vagrant_world import SIZE, client, make_driver, need

from localk8s.drivers.vagrant.client import PartialBootError, VagrantError
from localk8s.drivers.vagrant.cluster import VagrantCluster, identity, load, load_plan
from localk8s.drivers.vagrant.driver import VagrantDriver
from localk8s.drivers.vagrant.plan import PREFIX
from localk8s.drivers.vagrant.removal import LXC_CONTAINERS, containers
from localk8s.kube.readiness import judge_deployment
from localk8s.kubeadm import etcd, validity
from localk8s.kubeadm.parameters import KUBELET_CONF
from localk8s.model.progress import SilentReporter
from localk8s.model.quantities import MIB, parse_kubernetes_quantity
from localk8s.model.spec import ClusterSpec
from localk8s.model.status import ClusterState, NodeState
from localk8s.system.wait import wait_until

pytestmark = pytest.mark.real

REPORT = SilentReporter()
ECHO = "localk8s.dev/echo:1"


class Story:
    """The cluster of this module.

    Args:
        home: the driver's home.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.driver: VagrantDriver = make_driver(home)
        spec = ClusterSpec("story", "vagrant", nodes=2, size=SIZE, options={"provider": "lxc"})
        self.spec = self.driver.complete(spec)

    @property
    def cluster(self) -> VagrantCluster:
        """The cluster as the driver sees it."""
        return load(self.driver._context, self.spec)

    def states(self) -> dict[str, NodeState]:
        """State by node."""
        return {node.name: node.state for node in self.driver.inspect(self.spec).nodes}

    def run(self, node: str, *argv: str) -> str:
        """Run a command on a node."""
        return next(each for each in self.driver.nodes(self.spec) if each.name == node).run(argv, timeout=60).stdout

    def write(self, node: str, path: str, content: str) -> None:
        """Write a file on a node."""
        next(each for each in self.driver.nodes(self.spec) if each.name == node).write(path, content)

    def kubectl(self, *arguments: str, input: str | None = None) -> str:
        """Run kubectl on the control plane."""
        node = self.driver.nodes(self.spec)[0]
        argv = ["kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", *arguments]
        return node.run(argv, input=input, timeout=120).stdout

    def container(self, name: str) -> str:
        """Name of a machine's container on this host."""
        machine = load_plan(self.driver._context, "story").named(name)
        assert machine is not None
        return machine.identifier


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    need("vagrant-lxc", "lxc-create", "mmdebstrap")
    it = Story(tmp_path_factory.mktemp("vagrant"))
    yield it
    it.driver.delete("story", REPORT)


@contextlib.contextmanager
def never_boots(machine: str, identity_: str) -> Iterator[None]:
    """While the block runs, a container is in the way of that machine's."""
    blocked = LXC_CONTAINERS / f"{PREFIX}-{identity_}-{machine}"
    blocked.mkdir(parents=True)
    (blocked / "config").write_text("lxc.rootfs.path = dir:/nowhere\n")
    try:
        yield
    finally:
        (blocked / "config").unlink(missing_ok=True)
        blocked.rmdir()


def test_01_machines_first_cluster_second(story: Story) -> None:
    with never_boots("story-2", identity(story.driver._context, "story")), pytest.raises(PartialBootError) as caught:
        story.driver.create(story.spec, REPORT)
    assert caught.value.message.startswith("story-2 did not boot: ") and caught.value.resumable
    assert story.states() == {"story": NodeState.READY, "story-2": NodeState.BROKEN}, "the rest is a cluster that runs"
    story.driver.create(story.spec, REPORT)
    status = story.driver.inspect(story.spec)
    assert status.state is ClusterState.RUNNING, status
    assert [node.name for node in status.nodes] == ["story", "story-2"]


def test_02_memory_is_bounded_in_the_machine_and_in_the_node(story: Story) -> None:
    limits = story.run(
        "story-2", "sh", "-c", "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; true"
    )
    assert str(1500 * MIB) in limits.split()
    api = client(story.driver, story.spec)
    for name in ("story", "story-2"):
        allocatable = api.get(f"/api/v1/nodes/{name}")["status"]["allocatable"]["memory"]
        assert 1300 * MIB < parse_kubernetes_quantity(allocatable) <= 1500 * MIB
    api.close()


def test_03_pods_on_distinct_nodes_resolve_and_reach_each_other(story: Story) -> None:
    labels = {"app": "pair"}
    pods = [
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"pair-{node}", "labels": labels},
            "spec": {"nodeName": node, "hostname": f"on-{node}", "subdomain": "pair", "terminationGracePeriodSeconds": 0,
                     "containers": [{"name": "echo", "image": ECHO, "imagePullPolicy": "Never"}]},
        }
        for node in ("story", "story-2")
    ]  # fmt: skip
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "pair"},
        "spec": {"clusterIP": "None", "selector": labels, "ports": [{"name": "http", "port": 8080}]},
    }  # fmt: skip
    story.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": [service, *pods]}))
    story.kubectl("wait", "--for=condition=Ready", "pod", "-l", "app=pair", "--timeout=100s")
    for here, there in (("story", "story-2"), ("story-2", "story")):
        address = story.kubectl("get", "pod", f"pair-{there}", "-o", "jsonpath={.status.podIP}")
        name = f"on-{there}.pair.default.svc.cluster.local"

        def answered(here: str = here, name: str = name, address: str = address) -> bool:
            inside = ["exec", f"pair-{here}", "--", "sh", "-c"]
            resolved = story.kubectl(*inside, f"nslookup {name} || true")
            asked = story.kubectl(*inside, f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 {address} 8080 || true")
            return address in resolved and "200 OK" in asked

        wait_until(answered, what=f"{here} to reach {there}", timeout=40, interval=0.5)


def test_03_what_is_down_on_a_machine_that_runs_is_started(story: Story) -> None:
    story.run("story-2", "systemctl", "stop", "kubelet", "containerd")
    assert story.states()["story-2"] is NodeState.BROKEN
    story.driver.start(story.spec, REPORT)
    assert story.states()["story-2"] is NodeState.READY
    story.run("story-2", "systemctl", "is-active", "kubelet", "containerd")


def test_03_the_machines_own_etcd_says_which_arguments_it_knows(story: Story) -> None:
    """A newer kubeadm's manifest, made to fit on the machine itself, by the etcd in its image whatever the tag says."""
    script = etcd._FIT.replace("/etc/kubernetes/", "/root/fit/")
    image = story.run("story", "grep", "-m", "1", "image:", etcd.ETCD_MANIFEST)
    manifest = "    - etcd\n    - --watch-progress-notify-interval=5s\n    - --feature-gates=InitialCorruptCheck=true\n" + image
    story.run("story", "mkdir", "-p", "/root/fit/manifests")
    story.write("story", "/root/fit/manifests/etcd.yaml", manifest)
    story.run("story", "sh", "-c", script)
    fitted = story.run("story", "cat", "/root/fit/manifests/etcd.yaml")
    known = story.kubectl("exec", "-n", "kube-system", "etcd-story", "--", "etcd", "--help")
    flags = [line.strip().removeprefix("- ").partition("=")[0] for line in fitted.splitlines() if "- --" in line]
    assert any("watch-progress" in flag for flag in flags), fitted
    assert all(f"  {flag} " in known for flag in flags), (flags, known)
    assert "fit" not in story.run("story", "mount"), "the image is not mounted any more"


def test_04_a_worker_that_never_boots_leaves_the_rest_intact(story: Story) -> None:
    with never_boots("story-3", load_plan(story.driver._context, "story").identity):
        with pytest.raises(VagrantError) as caught:
            story.driver.add_node(story.spec, REPORT)
        assert caught.value.message.startswith("story-3 did not boot: ")
        assert story.states()["story"] is story.states()["story-2"] is NodeState.READY
    story.spec = story.driver.add_node(story.spec, REPORT)
    assert story.spec.nodes == 3
    assert story.driver.inspect(story.spec).state is ClusterState.RUNNING


def test_05_killed_in_the_middle_of_a_join_the_next_start_finishes(story: Story) -> None:
    argv = [sys.executable, str(Path(__file__).with_name("vagrant_world.py")), str(story.home), "story", "4", "lxc"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "join":
                break
        else:
            raise AssertionError("it never joined")
        wait_until(lambda: _joining(story), what="kubeadm join", timeout=60, interval=0.05)
        os.killpg(process.pid, signal.SIGKILL)
    story.spec = replace(story.spec, nodes=4)
    story.driver.start(story.spec, REPORT)
    assert story.states() == dict.fromkeys(("story", "story-2", "story-3", "story-4"), NodeState.READY)


def _joining(story: Story) -> bool:
    return "found" in story.run("story-4", "sh", "-c", "pgrep -x kubeadm >/dev/null && echo found; true")


def test_06_a_node_leaves_and_its_routes_with_it(story: Story) -> None:
    machine = load_plan(story.driver._context, "story").named("story-4")
    assert machine is not None
    assert str(machine.pods) in story.run("story", "ip", "route")
    story.spec = story.driver.delete_node(story.spec, "story-4", REPORT)
    story.spec = story.driver.delete_node(story.spec, "story-3", REPORT)
    assert story.spec.nodes == 2 and set(story.states()) == {"story", "story-2"}
    assert str(machine.pods) not in story.run("story", "ip", "route")
    assert not (LXC_CONTAINERS / machine.identifier).exists()
    assert "story-4" not in story.kubectl("get", "nodes", "-o", "name")


def test_07_a_machine_destroyed_behind_our_back_is_made_again(story: Story) -> None:
    name = story.container("story-2")
    for argv in (["lxc-stop", "--kill", "--name", name], ["lxc-destroy", "--force", "--name", name]):
        subprocess.run(argv, check=True, capture_output=True, timeout=60)
    status = story.driver.inspect(story.spec)
    assert status.state is ClusterState.BROKEN and story.states()["story-2"] in (NodeState.BROKEN, NodeState.STOPPED)
    story.driver.start(story.spec, REPORT)
    assert story.driver.inspect(story.spec).state is ClusterState.RUNNING


def credentials(story: Story) -> tuple[str, ...]:
    """What is made anew when certificates run out: the user's, the control plane's, a worker's."""
    ours = story.run("story", "cat", "/etc/kubernetes/pki/apiserver.crt", "/etc/kubernetes/scheduler.conf")
    return (story.cluster.kubeconfig, ours, story.run("story-2", "cat", KUBELET_CONF))


def test_08_stop_and_start_bring_the_same_cluster_back_also_when_its_certificates_ran_out(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [(node.name, node.address) for node in story.driver.inspect(story.spec).nodes]
    ran_out = credentials(story)
    deployment = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "kept"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "kept"}}, "template": {
            "metadata": {"labels": {"app": "kept"}},
            "spec": {"containers": [{"name": "echo", "image": ECHO, "imagePullPolicy": "Never"}]}}},
    }  # fmt: skip
    story.kubectl("apply", "-f", "-", input=json.dumps(deployment))
    story.driver.stop(story.spec, REPORT)
    story.driver.stop(story.spec, REPORT)
    assert story.driver.inspect(story.spec).state is ClusterState.STOPPED
    monkeypatch.setattr(validity, "_MARGIN", timedelta(days=400))
    story.driver.start(story.spec, REPORT)
    assert not set(ran_out) & set(credentials(story))
    status = story.driver.inspect(story.spec)
    assert status.state is ClusterState.RUNNING, status
    assert [(node.name, node.address) for node in status.nodes] == before
    api = client(story.driver, story.spec)
    path = "/apis/apps/v1/namespaces/default/deployments/kept"
    wait_until(lambda: judge_deployment(api.get(path)).ready, what="the deployment to be back", timeout=120, interval=0.5)
    api.close()


def test_09_nothing_is_left(story: Story) -> None:
    plan = load_plan(story.driver._context, "story")
    story.driver.delete("story", REPORT)
    story.driver.delete("story", REPORT)
    assert containers(plan.bridge) == ()
    assert plan.bridge not in subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=True).stdout
    assert not list((story.home / "data/vagrant/clusters").glob("*"))
    assert not Path(f"/tmp/localk8s-{plan.identity}").exists()
    assert plan.bridge not in Path("/proc/mounts").read_text()
    assert story.driver.leftovers(()) == ()
