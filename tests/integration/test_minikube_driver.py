"""The minikube driver over the fake minikube: the life of clusters on each kind of machine."""

from __future__ import annotations

import dataclasses
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from minikube_world import SIZE, Told, World

from localk8s.drivers.base import Feature, SupportsKubectl, SupportsLogs, SupportsNodes, SupportsNodeStop
from localk8s.model.errors import CommandError, Localk8sError, NotFoundError, NotSupportedError, UsageError, WrongStateError
from localk8s.model.spec import ClusterSpec, NodeSize
from localk8s.model.status import ClusterState, NodeRole, NodeState
from localk8s.model.versions import KubernetesVersion

V1_20 = KubernetesVersion(1, 20, 2)
PROFILE = "localk8s-default"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(tmp_path, monkeypatch)
    yield made
    made.close()


def create(world: World, spec: ClusterSpec) -> Told:
    told = Told()
    world.driver().create(spec, told)
    return told


def none_spec(world: World) -> ClusterSpec:
    options = {"vm-driver": "none", "minikube-arg": "--force"}
    return world.driver().complete(ClusterSpec("default", "minikube", size=SIZE, kubernetes_version=V1_20, options=options))


def ssh_spec(world: World, **options: str) -> ClusterSpec:
    text = "--force --ssh-ip-address=127.0.0.1 --ssh-user=root"
    wish = {"vm-driver": "ssh", "container-runtime": "containerd", "minikube-arg": text, **options}
    return world.driver().complete(ClusterSpec("default", "minikube", size=SIZE, kubernetes_version=V1_20, options=wish))


def test_a_whole_life_in_a_container(world: World) -> None:
    """SoftStart, StatusCmd, TestStartStop: each step again changes nothing; the same cluster comes back."""
    spec = world.spec()
    told = create(world, spec)
    driver = world.driver()
    status = driver.inspect(spec)
    assert (status.state, status.reasons) == (ClusterState.RUNNING, ())
    assert str(status.kubernetes_version) == "v1.36.2"
    node = status.nodes[0]
    assert (node.name, node.role, node.state, node.address) == (
        PROFILE,
        NodeRole.CONTROL_PLANE,
        NodeState.READY,
        "192.168.49.2",
    )
    assert told.warnings == [] and told.finished[-2] == "ready: API, 1 node, DNS"
    assert "context" in driver.kubeconfig(spec) and f"current-context: {PROFILE}" in driver.kubeconfig(spec)

    world.forget_calls()
    again = create(world, spec)
    assert world.calls("start") == [], "a running cluster that needs nothing is not started again"
    assert again.steps == ["profile", "ready", "echo"]

    world.driver().stop(spec, Told())
    stopped = world.driver().inspect(spec)
    assert (stopped.state, stopped.nodes[0].state, stopped.nodes[0].address) == (
        ClusterState.STOPPED,
        NodeState.STOPPED,
        "192.168.49.2",
    )
    assert driver.kubeconfig(spec), "the context is still there"
    with pytest.raises(WrongStateError, match=r"recorded for cluster .* is not live"):
        _ = world.driver().nodes(spec)[0].address
    world.forget_calls()
    world.driver().stop(spec, Told())
    assert world.calls("stop") == [], "stopping what is stopped"

    world.driver().start(spec, Told())
    assert world.driver().inspect(spec).state is ClusterState.RUNNING

    world.driver().delete("default", Told())
    with pytest.raises(NotFoundError):
        world.driver().inspect(spec)
    world.driver().delete("default", Told())
    with pytest.raises(WrongStateError):
        world.driver().kubeconfig(spec)


def test_delete_leaves_nothing(world: World) -> None:
    """TestPause/VerifyDeleted: no profile, container, volume, network, no process and no file of ours."""
    spec = world.spec(nodes=2)
    create(world, spec)
    world.driver().pause(spec)
    world.patience(5.0)
    assert world.driver().inspect(spec).state is ClusterState.PAUSED
    told = Told()
    world.driver().delete("default", told)
    assert world.profile(PROFILE) is None and world.machine(PROFILE) is None
    assert list((world.home / "machines").iterdir()) == []
    assert list(world.data.rglob("*claim*")) == [] and list(world.data.rglob("kubeconfig")) == []
    assert told.warnings == []
    port = int(re.findall(r'"api": (\d+)', (world.root / "servers" / f"{PROFILE}.json").read_text())[0])
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        pass


def test_a_paused_cluster_goes_on_when_it_is_started(world: World) -> None:
    """TestPause/SecondStartNoReconfiguration: nothing is made anew."""
    spec = world.spec()
    create(world, spec)
    world.driver().pause(spec)
    world.patience(5.0)
    status = world.driver().inspect(spec)
    assert (status.state, status.nodes[0].state) == (ClusterState.PAUSED, NodeState.PAUSED)
    world.forget_calls()
    world.driver().start(spec, Told())
    assert world.calls("start") == [] and len(world.calls("unpause")) == 1
    assert world.driver().inspect(spec).state is ClusterState.RUNNING


def test_this_host_as_the_node(world: World, tmp_path: Path) -> None:
    spec = none_spec(world)
    assert spec.size == NodeSize(), "what the host has"
    told = create(world, spec)
    driver = world.driver()
    status = driver.inspect(spec)
    assert (status.state, status.reasons) == (ClusterState.RUNNING, ())
    assert status.nodes[0].name == socket.gethostname().lower()
    argv = world.calls("start")[0]
    assert "--profile=minikube" in argv and "--driver=none" in argv and "--force" in argv
    assert not any(word.startswith(("--memory", "--cpus", "--disk-size", "--nodes")) for word in argv)
    assert [text.partition(" Kubernetes 1.20.2 is not")[0].removeprefix("minikube: ") for text in told.warnings[:1]] == [
        "Specified Kubernetes version 1.20.2 is less than the oldest supported version: v1.28.0."
    ]
    assert not any("sudo mv" in text for text in told.warnings)

    (node,) = driver.nodes(spec)
    if os.geteuid() == 0:
        assert node.run(["sh", "-c", "exit 7"], check=False).returncode == 7
        node.write(str(tmp_path / "a" / "b"), "content", mode=0o640)
        assert (tmp_path / "a" / "b").read_text() == "content"
        assert node.shell(["sh", "-c", "exit 3"]) == 3
    with pytest.raises(NotSupportedError, match="no ssh"):
        node.shell()
    with pytest.raises(NotSupportedError, match="docker is this host's own"):
        driver.docker_environment(spec)
    assert Feature.SSH not in driver.features_of(spec) and Feature.HOST_ROUTES in driver.features_of(spec)
    driver.stop(spec, Told())
    assert world.driver().inspect(spec).state is ClusterState.STOPPED
    driver.delete("default", Told())
    assert world.profile("minikube") is None


def test_a_remote_machine(world: World) -> None:
    spec = ssh_spec(world)
    create(world, spec)
    assert world.driver().inspect(spec).state is ClusterState.RUNNING
    argv = world.calls("start")[0]
    assert {"--ssh-ip-address=127.0.0.1", "--ssh-user=root", "--container-runtime=containerd"} <= set(argv)
    (node,) = world.driver().nodes(spec)
    assert node.run(["hostname"]).stdout.strip() in (PROFILE, socket.gethostname())
    world.driver().stop(spec, Told())
    state = world.machine(PROFILE)
    assert state is not None and state["host"] == "Running", "the machine itself stays up"
    assert world.driver().inspect(spec).state is ClusterState.STOPPED
    world.driver().start(spec, Told())
    assert world.driver().inspect(spec).state is ClusterState.RUNNING
    world.driver().delete("default", Told())
    assert world.profile(PROFILE) is None


def test_several_nodes(world: World) -> None:
    """TestMultiNode: nodes, their names and addresses, added, deleted, stopped and started."""
    spec = world.spec(nodes=2)
    create(world, spec)
    driver = world.driver()
    assert isinstance(driver, SupportsNodes)
    status = driver.inspect(spec)
    assert [(node.name, node.role.value, node.address, node.state.value) for node in status.nodes] == [
        (PROFILE, "control-plane", "192.168.49.2", "ready"),
        (f"{PROFILE}-m02", "worker", "192.168.49.3", "ready"),
    ]
    assert [node.run(["hostname"]).stdout.strip() for node in driver.nodes(spec)] == [PROFILE, f"{PROFILE}-m02"]

    grown = driver.add_node(spec, Told())
    assert grown.nodes == 3 and len(world.driver().inspect(grown).nodes) == 3
    live = dataclasses.replace(grown, nodes=4)
    world.driver().start(live, Told())
    assert [node.name for node in world.driver().nodes(live)][-1] == f"{PROFILE}-m04"

    assert isinstance(driver, SupportsNodeStop)
    world.driver().stop_node(live, f"{PROFILE}-m03", Told())
    broken = world.driver().inspect(live)
    assert broken.state is ClusterState.BROKEN and broken.reasons[0] == f"{PROFILE}-m03 is stopped"
    assert [node.state for node in broken.nodes][2] is NodeState.STOPPED
    world.driver().start_node(live, f"{PROFILE}-m03", Told())
    assert world.driver().inspect(live).state is ClusterState.RUNNING
    for switch in (driver.stop_node, driver.start_node):
        with pytest.raises(NotFoundError):
            switch(live, f"{PROFILE}-m09", Told())
    world.scenario(**{"node stop": "lies"})
    with pytest.raises(Localk8sError, match=f"says that it stopped {PROFILE}-m03, but it still runs"):
        world.driver().stop_node(live, f"{PROFILE}-m03", Told())

    left = world.driver().delete_node(live, f"{PROFILE}-m02", Told())
    assert left.nodes == 3 and f"{PROFILE}-m02" not in [node.name for node in world.driver().nodes(left)]
    with pytest.raises(NotFoundError):
        driver.delete_node(left, f"{PROFILE}-m02", Told())
    with pytest.raises(UsageError, match="control plane"):
        driver.delete_node(left, PROFILE, Told())


def test_trap_6_1_stop_and_start_keep_the_list_of_nodes(world: World) -> None:
    spec = world.spec(nodes=2)
    create(world, spec)
    grown = world.driver().add_node(spec, Told())
    names = [node.name for node in world.driver().nodes(grown)]
    for _ in range(2):
        world.driver().stop(grown, Told())
        world.driver().start(grown, Told())
        assert [node.name for node in world.driver().nodes(grown)] == names
        assert world.driver().inspect(grown).state is ClusterState.RUNNING
    assert len(world.calls("node add")) == 1, "no node is added again"


def test_trap_6_11_an_address_that_changed_is_told_as_it_is_now(world: World) -> None:
    spec = world.spec("kvm2")
    create(world, spec)
    world.set_machine(PROFILE, ip="192.168.39.77")
    profile = world.profile(PROFILE)
    assert profile is not None and profile["Nodes"][0]["IP"] == "192.168.39.2", "what minikube recorded is old"
    assert world.driver().inspect(spec).nodes[0].address == "192.168.39.77"
    assert world.driver().nodes(spec)[0].address == "192.168.39.77"


def test_trap_2_10_nodes_run_commands_with_their_real_exit_code_and_copy_files_both_ways(world: World, tmp_path: Path) -> None:
    """CpCmd, SSHCmd: minikube's own ssh loses the exit code, and its cp takes one regular file."""
    if os.geteuid() != 0:
        pytest.skip("directories of their own on the machines need root")
    spec = world.spec("virtualbox")
    create(world, spec)
    (node,) = world.driver().nodes(spec)
    assert node.run(["sh", "-c", "exit 42"], check=False).returncode == 42
    assert node.run(["sh", "-c", "exit 255"], check=False).returncode == 255
    with pytest.raises(CommandError) as caught:
        node.run(["sh", "-c", "echo said >&2; exit 9"])
    assert caught.value.returncode == 9 and "said" in caught.value.message
    hard = "a 'b' \"c\" $HOME `id` \\ \n*;|&"
    assert node.run(["printf", "%s", hard]).stdout == hard
    assert node.run(["sh", "-c", 'printf %s "$WORD"'], env={"WORD": hard}).stdout == hard
    assert node.run(["cat"], input="fed").stdout == "fed"

    source = tmp_path / "binary"
    source.write_bytes(bytes(range(256)) * 40)
    target = "/srv/de ep/f'ile"
    node.copy_in(source, target, mode=0o751)
    assert node.run(["stat", "-c", "%a %s", target]).stdout.split() == ["751", str(256 * 40)]
    back = tmp_path / "back"
    node.copy_out(target, back)
    assert back.read_bytes() == source.read_bytes() and back.stat().st_mode & 0o777 == 0o600
    node.write(target, "")
    node.copy_out(target, back)
    assert back.read_bytes() == b""
    with pytest.raises(NotFoundError):
        node.copy_out("/srv/missing", back)
    with pytest.raises(NotFoundError):
        node.copy_in(tmp_path / "missing", "/srv/x")
    with pytest.raises(UsageError):
        node.write("relative", "x")
    assert node.shell(["sh", "-c", "exit 5"]) == 5


def test_a_node_that_cannot_be_reached_is_said_so(world: World) -> None:
    spec = world.spec("kvm2")
    create(world, spec)
    (node,) = world.driver().nodes(spec)
    (world.home / "machines" / PROFILE / "id_rsa").chmod(0o644)
    with pytest.raises(CommandError, match=rf"{PROFILE} cannot be reached over ssh: .*Permission denied"):
        node.run(["true"])
    (world.home / "machines" / PROFILE / "id_rsa").unlink()
    with pytest.raises(WrongStateError, match="key for localk8s-default is gone"):
        world.driver().nodes(spec)[0].run(["true"])
    other = world.spec(name="other")
    world.driver().create(other, Told())
    world.driver().stop(other, Told())
    with pytest.raises(WrongStateError, match="container localk8s-other is gone or stopped"):
        world.driver().nodes(other)[0].run(["true"])


def test_two_clusters_side_by_side(world: World) -> None:
    """TestMinikubeProfile: each has its own context; deleting one does not touch the other."""
    one, two = world.spec(name="one"), world.spec(name="two")
    create(world, one)
    create(world, two)
    assert [world.driver().inspect(spec).state for spec in (one, two)] == [ClusterState.RUNNING] * 2
    contexts = [re.findall(r"current-context: (\S+)", world.driver().kubeconfig(spec)) for spec in (one, two)]
    assert contexts == [["localk8s-one"], ["localk8s-two"]]
    world.driver().delete("one", Told())
    assert world.driver().inspect(two).state is ClusterState.RUNNING
    assert world.driver().leftovers(["two"]) == ()
    assert [finding.fix for finding in world.driver().leftovers([])] == ["localk8s delete -c two"]


def test_the_users_own_profiles_kubeconfig_and_choice_are_left_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap 2.12: any delete makes minikube forget which profile the user had chosen."""
    own = world.data.parent / "mine" / "config"
    own.parent.mkdir(parents=True)
    own.write_text("apiVersion: v1\n")
    monkeypatch.setenv("KUBECONFIG", str(own))
    (world.home / "profiles" / "mine").mkdir(parents=True)
    (world.home / "profiles" / "mine" / "config.json").write_text(
        '{"Name":"mine","Driver":"kvm2","Nodes":[{"Name":"","IP":"192.0.2.1"}]}'
    )
    (world.home / "config").mkdir()
    (world.home / "config" / "config.json").write_text('{"profile":"mine","cpus":2}')
    spec = world.spec()
    create(world, spec)
    world.driver().delete("default", Told())
    assert own.read_text() == "apiVersion: v1\n"
    assert '"profile": "mine"' in (world.home / "config" / "config.json").read_text()
    assert (world.home / "profiles" / "mine" / "config.json").exists()
    assert not any(env.get("KUBECONFIG") == str(own) for env in world.environments())


def test_logs_and_kubectl(world: World) -> None:
    spec = world.spec()
    create(world, spec)
    driver = world.driver()
    assert isinstance(driver, SupportsLogs) and isinstance(driver, SupportsKubectl)
    said = driver.logs(spec, PROFILE, 20)
    assert said.startswith("==> kubelet <==") and "Audit" not in said and "Last Start" not in said
    with pytest.raises(NotFoundError):
        driver.logs(spec, "nosuch", 20)
    assert driver.kubectl(spec) is None
    program = world.home / "cache" / "linux" / driver._context.host.facts().architecture / "v1.36.2" / "kubectl"
    program.parent.mkdir(parents=True)
    program.write_text("x")
    assert driver.kubectl(spec) == program


def test_docker_env_is_data(world: World) -> None:
    """Trap 2.5: the JSON form, without what minikube left empty; the user's own agent is not among it."""
    spec = world.spec()
    create(world, spec)
    assert world.driver().docker_environment(spec) == {
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_HOST": "tcp://127.0.0.1:32842",
        "DOCKER_CERT_PATH": str(world.home / "certs"),
    }


@pytest.mark.parametrize(
    ("vm", "nodes", "runtime", "says"),
    [
        ("docker", 2, "docker", "2 nodes: each has a docker of its own"),
        ("docker", 1, "cri-o", "no docker in it"),
        ("kvm2", 1, "containerd", "needs its docker driver"),
    ],
)
def test_trap_2_5_and_6_2_docker_env_is_refused_where_it_cannot_work(
    world: World, vm: str, nodes: int, runtime: str, says: str
) -> None:
    spec = world.spec(vm, nodes=nodes, container_runtime=runtime)
    create(world, spec)
    world.forget_calls()
    with pytest.raises(NotSupportedError, match=says):
        world.driver().docker_environment(spec)
    assert world.calls("docker-env") == []


def test_trap_2_5_a_failing_docker_env_prints_what_evaluates_to_false_and_is_an_error(world: World) -> None:
    spec = world.spec()
    create(world, spec)
    world.scenario(**{"docker-env": "fails", "docker-env code": 80})
    with pytest.raises(CommandError, match="exit 80"):
        world.driver().docker_environment(spec)
    world.driver().stop(spec, Told())
    with pytest.raises(WrongStateError, match="exit 83"):
        world.driver().docker_environment(spec)
