"""Three machines that all carry the control plane: one is lost behind our back, comes back, others come and go.

The tests run in the order in which they stand, on one cluster of containers with systemd.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from localk8s_door import RealDoor, ask

from localk8s.system.wait import wait_until

pytestmark = pytest.mark.real

NAMES = ["default", "default-2", "default-3"]
TAKEOVER = 30.0
"""Seconds after which the API has to answer again at its address, whichever machine is lost."""


@pytest.fixture(scope="module")
def cluster(door: RealDoor) -> Iterator[RealDoor]:
    boxes = Path(door.environment["LOCALK8S_CACHE"]) / "boxes"
    if not shutil.which("vagrant") or not shutil.which("lxc-create") or not list(boxes.glob("lxc-*")):
        pytest.skip("vagrant-lxc and its box are not here: localk8s setup --driver vagrant")
    door.do("start", "--driver", "vagrant", "--provider", "lxc", "--control-planes", "3", "--memory", "1500m", timeout=600)
    yield door


def container(cluster: RealDoor, node: str) -> str:
    """A machine's container on this host."""
    plan = json.loads((cluster.home / "data/vagrant/clusters/default/plan.json").read_text())
    return f"lk8v-{plan['identity']}-{node}"


def kill_machine(cluster: RealDoor, node: str) -> None:
    """End a machine behind the back of everybody."""
    subprocess.run(["lxc-stop", "--kill", "--name", container(cluster, node)], check=True, capture_output=True, timeout=60)


def states(cluster: RealDoor) -> dict[str, str]:
    """State by node, as ``status`` has it."""
    return {node["name"]: node["state"] for node in cluster.status()["nodes"]}


def identities(cluster: RealDoor) -> dict[str, str]:
    """Unique id by node, as the API has it."""
    return {node["metadata"]["name"]: node["metadata"]["uid"] for node in cluster.objects("nodes")}


def members(cluster: RealDoor, by: str) -> dict[str, str]:
    """Members of etcd: name -> id, asked on the machine ``by``."""
    pki = "/etc/kubernetes/pki/etcd"
    said = cluster.kubectl(
        "-n", "kube-system", "exec", f"etcd-{by}", "--", "etcdctl", "--endpoints=https://127.0.0.1:2379",
        f"--cacert={pki}/ca.crt", f"--cert={pki}/server.crt", f"--key={pki}/server.key", "member", "list",
    )  # fmt: skip
    fields = [[field.strip() for field in line.split(",")] for line in said.splitlines()]
    return {field[2]: field[0] for field in fields}


def demo_port(cluster: RealDoor) -> int:
    """The port at which the demo answers on every node."""
    return int(json.loads(cluster.kubectl("get", "service", "demo", "-o", "json"))["spec"]["ports"][0]["nodePort"])


def address(cluster: RealDoor, node: str) -> str:
    """A node's address."""
    return str(cluster.do("ip", node)).strip()


def answers(url: str) -> bool:
    """Whether the demo answers there now."""
    try:
        return bool(ask(url, timeout=2)["pod"])
    except OSError:
        return False


def writes(cluster: RealDoor, name: str) -> bool:
    """Whether the API takes something new now."""
    argv = ("kubectl", "--", "--request-timeout=3s", "create", "configmap", name)
    return cluster.run(*argv, timeout=30).returncode == 0


def test_01_three_machines_share_one_address(cluster: RealDoor) -> None:
    status = cluster.status()
    assert status["state"] == "running", status
    assert {node["name"]: node["role"] for node in status["nodes"]} == dict.fromkeys(NAMES, "control-plane")
    server = yaml.safe_load(cluster.do("kubeconfig"))["clusters"][0]["cluster"]["server"]
    assert server == status["endpoint"]
    assert not any(f"//{node['address']}:" in server for node in status["nodes"])
    assert set(members(cluster, "default")) == set(NAMES)
    cluster.do("demo", "--replicas", "3")


def test_01b_kubectl_is_the_machines_own(cluster: RealDoor) -> None:
    said = json.loads(cluster.kubectl("version", "--client", "-o", "json"))
    assert (cluster.home / "data/vagrant/clusters/default/bin/kubectl").stat().st_mode & 0o777 == 0o755
    assert said["clientVersion"]["gitVersion"].removeprefix("v") == cluster.status()["kubernetesVersion"].removeprefix("v")


def test_02_a_second_create_of_the_name_changes_nothing(cluster: RealDoor) -> None:
    before = identities(cluster)
    assert cluster.do("start") == 'Cluster "default" is already running.\n'
    assert "localk8s delete" in cluster.fail("start", "--control-planes", "1", code=4)
    assert "created with the vagrant driver" in cluster.fail("start", "--driver", "native", code=4)
    assert identities(cluster) == before


def test_03_ansible_reaches_every_machine_by_the_inventory(cluster: RealDoor, tmp_path: Path) -> None:
    program = Path(cluster.environment["LOCALK8S_CACHE"]) / "test-tools/ansible/bin/ansible"
    if not program.exists():
        pytest.skip("ansible is not here: scripts/test-tools")
    file = tmp_path / "inventory.yaml"
    file.write_text(cluster.do("inventory"))
    settings = {"ANSIBLE_HOME": str(tmp_path), "ANSIBLE_LOCAL_TEMP": str(tmp_path), "ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [str(program), "all", "-m", "ping", "-i", str(file)], env={**os.environ, **settings},
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done
    assert sorted(re.findall(r"^(\S+) \| SUCCESS => ", done.stdout, re.MULTILINE)) == NAMES, done.stdout
    assert done.stdout.count('"ping": "pong"') == len(NAMES)
    graph = json.loads(
        subprocess.run(
            [str(program.with_name("ansible-inventory")), "-i", str(file), "--list"], env={**os.environ, **settings},
            cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
        ).stdout
    )  # fmt: skip
    assert graph["kube_control_plane"]["hosts"] == graph["etcd"]["hosts"] == graph["kube_node"]["hosts"] == NAMES


def test_04_the_loss_of_one_is_survived_and_told(cluster: RealDoor) -> None:
    url = f"http://{address(cluster, 'default-2')}:{demo_port(cluster)}/"
    kill_machine(cluster, "default")  # the first, which holds the shared address
    began = time.monotonic()
    wait_until(lambda: writes(cluster, "after-the-loss"), what="the API to take something new", timeout=TAKEOVER, interval=0.3)
    print(f"the API answered again after {time.monotonic() - began:.1f} s")
    assert cluster.run("status").returncode == 4
    found = cluster.status()
    assert found["state"] == "broken"
    assert [node["name"] for node in found["nodes"] if node["state"] == "stopped"] == ["default"]
    assert "localk8s start" in found["nodes"][0]["reason"]
    wait_until(lambda: answers(url), what="the demo to answer on another machine", timeout=60, interval=0.3)


def test_05_start_brings_it_back_without_joining_again(cluster: RealDoor) -> None:
    before, etcd = identities(cluster), members(cluster, "default-2")
    cluster.do("start")
    assert cluster.status()["state"] == "running"
    assert identities(cluster) == before and members(cluster, "default-2") == etcd
    assert cluster.kubectl("get", "configmap", "after-the-loss", "-o", "name").strip() == "configmap/after-the-loss"


def test_06_all_of_it_stops_and_comes_back(cluster: RealDoor) -> None:
    before, url = identities(cluster), f"http://{address(cluster, 'default-3')}:{demo_port(cluster)}/"
    cluster.do("stop")
    assert set(states(cluster).values()) == {"stopped"}
    cluster.do("start")
    wait_until(lambda: answers(url), what="the demo to answer", timeout=60, interval=0.3)
    assert identities(cluster) == before


def test_07_a_worker_comes_stops_and_goes(cluster: RealDoor) -> None:
    assert cluster.do("node", "add").startswith("default-4 is ready at ")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "on-four"},
           "spec": {"nodeName": "default-4", "containers": [
               {"name": "echo", "image": "localk8s.dev/echo:1", "imagePullPolicy": "Never"}]}}  # fmt: skip
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    cluster.kubectl("wait", "--for=condition=Ready", "pod/on-four", "--timeout=60s")
    cluster.do("node", "stop", "default-4")
    assert states(cluster)["default-4"] == "stopped"
    assert cluster.do("node", "start", "default-4") == "default-4 is ready.\n"
    cluster.do("node", "delete", "default-4", "--yes")
    assert list(states(cluster)) == NAMES and set(identities(cluster)) == set(NAMES)
    assert not Path(f"/var/lib/lxc/{container(cluster, 'default-4')}").exists()
    cluster.fail("node", "delete", "default-4", "--yes", code=3)


def test_08_a_dead_control_plane_is_deleted_and_leaves_etcd(cluster: RealDoor) -> None:
    kill_machine(cluster, "default-3")
    cluster.do("node", "delete", "default-3", "--yes")
    assert set(members(cluster, "default")) == {"default", "default-2"}
    assert cluster.status()["state"] == "running"
    assert cluster.do("start") == 'Cluster "default" is already running.\n'
