"""A real native cluster of three nodes: what users do with it, what must survive, what must come back."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from localk8s_door import RealDoor, ask

from localk8s.drivers.native.plan import identify

pytestmark = pytest.mark.real


def eventually(check: Callable[[], bool], what: str, limit: float = 60) -> None:
    """Wait until ``check`` holds."""
    deadline = time.monotonic() + limit
    while not check():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def cluster(door: RealDoor) -> RealDoor:
    door.do("start", "--nodes", "3", "--memory", "1500m", "--cpus", "1.5", "--disk-size", "4g")
    door.do("demo", "--replicas", "3")
    return door


def demo_url(cluster: RealDoor, address: str = "10.83.0.10") -> str:
    service = json.loads(cluster.kubectl("get", "service", "demo", "-o", "json"))
    return f"http://{address}:{service['spec']['ports'][0]['nodePort']}"


def addresses(cluster: RealDoor) -> list[str]:
    return [node["address"] for node in cluster.status()["nodes"]]


def process(cluster: RealDoor, node: str, program: str) -> int:
    """The id of a program of a node, in the node's own count."""
    found = cluster.run("ssh", node, "--", "pgrep", "-o", "-x", program).stdout.split()
    return int(found[0]) if found else 0


def test_three_nodes_are_ready_and_the_context_is_current(cluster: RealDoor) -> None:
    status = cluster.status()
    assert status["state"] == "running"
    assert [(node["role"], node["state"]) for node in status["nodes"]] == [
        ("control-plane", "ready"), ("worker", "ready"), ("worker", "ready")]  # fmt: skip
    assert cluster.kubectl("config", "current-context").strip() == "localk8s-default"
    assert oct((cluster.home / "kubeconfig").stat().st_mode)[-3:] == "600"


def test_sizes_are_what_the_nodes_offer(cluster: RealDoor) -> None:
    for node in cluster.objects("nodes"):
        allocatable = node["status"]["allocatable"]
        assert allocatable["cpu"] == "1500m"
        assert 1400 * 1024 <= int(allocatable["memory"].removesuffix("Ki").removesuffix("Mi")) * (
            1024 if allocatable["memory"].endswith("Mi") else 1
        ) <= 1500 * 1024  # fmt: skip
    size = cluster.node("default-2", "df", "-B1", "--output=size", "/var/lib/kubelet").split()[-1]
    assert 3.5 * 2**30 < int(size) <= 4 * 2**30
    for name in ("default", "default-2", "default-3"):
        assert kernel_bounds(cluster, name) == (150_000, 1500 * 2**20)


def kernel_bounds(cluster: RealDoor, node: str) -> tuple[int, int]:
    """What the kernel holds of a node: microseconds of processor time in 100 ms, and bytes; on both control group versions."""
    files = ("cpu/cpu.cfs_quota_us", "cpu.max", "memory/memory.limit_in_bytes", "memory.max")
    script = 'cd /sys/fs/cgroup && for file in "$@"; do [ ! -e "$file" ] || cut -d " " -f 1 "$file"; done'
    quota, memory = cluster.node(node, "sh", "-c", script, "sh", *files).split()
    return int(quota), int(memory)


def test_every_node_answers_for_the_service(cluster: RealDoor) -> None:
    for address in addresses(cluster):
        answer = ask(demo_url(cluster, address) + "/some/path?q=1")
        assert (answer["method"], answer["path"]) == ("GET", "/some/path?q=1")
        assert answer["pod"].startswith("demo-")


def test_the_host_reaches_pods_and_services_by_route(cluster: RealDoor) -> None:
    service = json.loads(cluster.kubectl("get", "service", "demo", "-o", "json"))
    assert ask(f"http://{service['spec']['clusterIP']}:8080/")["path"] == "/"
    for pod in cluster.objects("pods", "-l", "app=demo"):
        assert ask(f"http://{pod['status']['podIP']}:8080/")["pod"] == pod["metadata"]["name"]


def test_pods_reach_each_other_across_nodes_by_their_own_addresses_and_names(cluster: RealDoor) -> None:
    pods = cluster.objects("pods", "-l", "app=demo")
    assert len({pod["spec"]["nodeName"] for pod in pods}) > 1
    first = pods[0]
    for other in pods[1:]:
        said = cluster.kubectl(
            "exec", first["metadata"]["name"], "--", "wget", "-q", "-O", "-", f"http://{other['status']['podIP']}:8080/"
        )
        assert json.loads(said)["pod"] == other["metadata"]["name"]
        assert json.loads(said)["client"].split(":")[0] == first["status"]["podIP"]
    said = cluster.kubectl("exec", first["metadata"]["name"], "--", "wget", "-q", "-O", "-", "http://demo.default:8080/")
    assert json.loads(said)["pod"].startswith("demo-")


def test_a_pod_reaches_itself_through_its_service(cluster: RealDoor) -> None:
    for pod in cluster.objects("pods", "-l", "app=demo"):
        for _ in range(4):
            cluster.kubectl("exec", pod["metadata"]["name"], "--", "timeout", "5", "wget", "-q", "-O", "-", "http://demo:8080/")


def test_dns_answers_what_exists_and_refuses_what_does_not(cluster: RealDoor) -> None:
    name = cluster.objects("pods", "-l", "app=demo")[0]["metadata"]["name"]
    dns = json.loads(cluster.kubectl("get", "service", "-n", "kube-system", "kube-dns", "-o", "json"))["spec"]["clusterIP"]
    assert f"nameserver {dns}" in cluster.kubectl("exec", name, "--", "cat", "/etc/resolv.conf")
    spec = {"clusterIP": "None", "selector": {"app": "demo"}, "ports": [{"name": "http", "port": 8080}]}
    headless = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "each"}, "spec": spec}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(headless))
    expected = {pod["status"]["podIP"] for pod in cluster.objects("pods", "-l", "app=demo")}

    def listed() -> bool:
        said = cluster.run("kubectl", "--", "exec", name, "--", "nslookup", "each.default.svc.cluster.local").stdout
        return all(address in said for address in expected)

    eventually(listed, "every pod of the headless service resolves", 15)
    missing = cluster.run("kubectl", "--", "exec", name, "--", "nslookup", "no-such.default.svc.cluster.local")
    assert missing.returncode != 0 and "NXDOMAIN" in missing.stdout + missing.stderr


def test_logs_and_exec_reach_every_node(cluster: RealDoor) -> None:
    for pod in cluster.objects("pods", "-l", "app=demo"):
        assert cluster.kubectl("exec", pod["metadata"]["name"], "--", "hostname").strip() == pod["metadata"]["name"]
        cluster.kubectl("logs", pod["metadata"]["name"])


def test_exit_codes_come_through(cluster: RealDoor) -> None:
    assert cluster.run("ssh", "default-2", "--", "sh", "-c", "exit 7").returncode == 7
    assert cluster.run("kubectl", "--", "get", "pod", "no-such-pod").returncode == 1
    assert cluster.node("default-3", "hostname").strip() == "default-3"


def test_a_second_start_changes_nothing_and_is_quick(cluster: RealDoor) -> None:
    before = cluster.objects("pods", "-l", "app=demo")
    assert "already running" in cluster.do("start")
    assert [pod["metadata"]["uid"] for pod in cluster.objects("pods", "-l", "app=demo")] == [
        pod["metadata"]["uid"] for pod in before
    ]


def test_drift_is_refused_with_the_command_that_would_do_it(cluster: RealDoor) -> None:
    said = cluster.fail("start", "--disk-size", "9g", code=4)
    assert "4.0 GiB" in said and "9.0 GiB" in said and "localk8s delete" in said


@pytest.mark.parametrize(
    ("node", "program"),
    [("default-2", "kubelet"), ("default-2", "containerd"), ("default", "kube-apiserver"), ("default", "etcd")],
)
def test_a_killed_program_comes_back(cluster: RealDoor, node: str, program: str) -> None:
    old = process(cluster, node, program)
    assert old
    cluster.run("ssh", node, "--", "kill", "-9", str(old))
    eventually(lambda: process(cluster, node, program) not in (0, old), f"{program} is back", 20)
    eventually(lambda: cluster.status().get("state") == "running", "the cluster is running again", 60)
    assert ask(demo_url(cluster))["pod"].startswith("demo-")


def test_stop_and_start_bring_the_same_cluster_back(cluster: RealDoor) -> None:
    pods = {pod["metadata"]["uid"] for pod in cluster.objects("pods", "-l", "app=demo")}
    nodes = {node["metadata"]["uid"] for node in cluster.objects("nodes")}
    old_addresses, url = addresses(cluster), demo_url(cluster)
    cluster.kubectl("create", "configmap", "kept", "--from-literal", "a=b")
    cluster.do("stop")
    assert cluster.status()["state"] == "stopped"
    assert cluster.run("status").returncode == 4
    assert not _cables(), "no cable outlives its node"
    assert "==> etcd <==" in cluster.do("logs"), "what a node wrote can be read while it is off"
    cluster.do("start")
    assert addresses(cluster) == old_addresses
    assert {node["metadata"]["uid"] for node in cluster.objects("nodes")} == nodes
    eventually(lambda: ask_ok(url), "the demo answers again", 60)
    assert {pod["metadata"]["uid"] for pod in cluster.objects("pods", "-l", "app=demo")} == pods
    assert cluster.kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.a}") == "b"


def _cables() -> list[str]:
    found = json.loads(subprocess.run(["ip", "-json", "link", "show", "type", "veth"], capture_output=True, check=True).stdout)
    return [link["ifname"] for link in found if link.get("ifname", "").startswith("lk8s")]


def ask_ok(url: str) -> bool:
    try:
        return bool(ask(url, timeout=2)["pod"])
    except OSError:
        return False


def test_it_comes_back_after_every_process_of_it_was_killed(cluster: RealDoor) -> None:
    url = demo_url(cluster)
    kill_all(own_processes(cluster))
    assert cluster.status()["state"] in ("stopped", "broken")
    cluster.do("start")
    eventually(lambda: ask_ok(url), "the demo answers again", 60)


def kill_all(processes: list[int]) -> None:
    for process_id in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGKILL)


def own_processes(cluster: RealDoor, node: str = "") -> list[int]:
    """Every process of the cluster, or of one node, as the host counts them."""
    identity = identify(str((cluster.home / "data" / "native").resolve()), "default")
    group = Path(f"/sys/fs/cgroup/memory/localk8s-{identity}-default")
    group = group if group.is_dir() else Path(f"/sys/fs/cgroup/{group.name}")
    found = [int(line) for file in (group / node).rglob("cgroup.procs") for line in file.read_text().split()]
    assert found
    return found


def test_a_node_that_is_off_is_told_and_started_again(cluster: RealDoor) -> None:
    kill_all(own_processes(cluster, "default-3"))
    eventually(lambda: cluster.status()["state"] == "broken", "the loss is seen", 10)
    off = [node for node in cluster.status()["nodes"] if node["state"] == "stopped"]
    assert [node["name"] for node in off] == ["default-3"] and "localk8s start" in off[0]["reason"]
    cluster.do("start")
    eventually(lambda: cluster.status()["state"] == "running", "three nodes again", 30)


def test_start_starts_what_was_put_down_on_nodes_that_run(cluster: RealDoor) -> None:
    """As a ``stop`` leaves it that was killed between its steps, and worse."""
    down = {
        "default": ["etcd", "kube-apiserver", "kube-scheduler", "dns"],
        "default-2": ["kubelet", "containerd", "kube-proxy"],
    }
    for node, programs in down.items():
        cluster.run("ssh", node, "--", "sv", "-w", "3", "force-stop", *[f"/run/localk8s/service/{each}" for each in programs])
    cluster.node("default-3", "sv", "pause", "/run/localk8s/service/kubelet")
    status = cluster.status()
    assert status["state"] == "broken"
    for node in status["nodes"]:
        assert all(program in node["reason"] for program in down.get(node["name"], ["kubelet"])), node
        assert "localk8s start" in node["reason"]
    cluster.do("start")
    assert cluster.status()["state"] == "running", cluster.status()
    assert ask(demo_url(cluster))["pod"].startswith("demo-")


def test_memory_and_nodes_grow_on_what_runs(cluster: RealDoor) -> None:
    cluster.do("start", "--memory", "2g", "--cpus", "1.25", "--nodes", "4")
    assert len(cluster.objects("nodes")) == 4
    for name in ("default", "default-2", "default-3", "default-4"):
        assert kernel_bounds(cluster, name) == (125_000, 2 * 2**30)

    def grown() -> bool:
        found = [node["status"]["allocatable"]["memory"] for node in cluster.objects("nodes")]
        return all(
            int(text.removesuffix("Ki").removesuffix("Mi")) * (1024 if text.endswith("Mi") else 1) > 1900 * 1024
            for text in found
        )

    eventually(grown, "every node offers the new size", 40)


def test_nodes_leave_and_come_one_by_one(cluster: RealDoor) -> None:
    pods = json.loads(cluster.kubectl("get", "node", "default-2", "-o", "json"))["spec"]["podCIDR"]
    cluster.do("node", "delete", "default-2", "--yes")
    assert cluster.do("node", "list", "-o", "name").split() == ["default", "default-3", "default-4"]
    assert {node["metadata"]["name"] for node in cluster.objects("nodes")} == {"default", "default-3", "default-4"}
    assert pods not in cluster.node("default-3", "ip", "route") and "default-2" not in cluster.node(
        "default", "cat", "/etc/hosts"
    )
    assert not (cluster.home / "data/native/default/nodes/default-2").exists()
    cluster.do("node", "stop", "default-4")
    assert {node["name"]: node["state"] for node in cluster.status()["nodes"]}["default-4"] == "stopped"
    assert cluster.do("node", "start", "default-4") == "default-4 is ready.\n"
    assert cluster.do("node", "add").startswith("default-2 is ready at ")
    assert cluster.status()["state"] == "running"
    cluster.fail("node", "delete", "default", "--yes", code=2)
    url = demo_url(cluster, "10.83.0.11")
    eventually(lambda: ask_ok(url), "the new node answers for the service", 20)


def test_a_dead_node_can_be_deleted_and_a_killed_delete_is_finished(cluster: RealDoor) -> None:
    kill_all(own_processes(cluster, "default-3"))
    process_ = cluster.spawn("node", "delete", "default-3", "--yes")
    record = cluster.home / "state/clusters/default/cluster.json"
    eventually(lambda: "leaving" in json.loads(record.read_text()), "the delete has begun", 20)
    process_.kill()
    process_.communicate(timeout=20)
    cluster.do("start")
    assert cluster.do("node", "list", "-o", "name").split() == ["default", "default-2", "default-4"]
    assert cluster.status()["state"] == "running"
