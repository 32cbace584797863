"""Top, logs of pods, cp, proxy and hosts on a real native cluster of two nodes."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from localk8s_door import RealDoor
from web_workload import eventually, library, running

from localk8s import Cluster
from localk8s.helpers.top import measure

pytestmark = pytest.mark.real
TALKER = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: talker}
spec:
  replicas: 2
  selector: {matchLabels: {app: talker}}
  template:
    metadata: {labels: {app: talker}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: localk8s.dev/echo:1
        command: [sh, -c, "n=0; while true; do n=$((n + 1)); echo line $n; sleep 0.3; done"]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop}
spec:
  rules:
  - host: shop.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: x, port: {number: 80}}}}]}
"""


@pytest.fixture(scope="module")
def talking(door: RealDoor) -> Iterator[Cluster]:
    """A cluster of two nodes with pods that write."""
    door.do("start", "--nodes", "2")
    door.do("kubectl", "apply", "-f", "-", stdin=TALKER)
    door.do("kubectl", "rollout", "status", "deployment/talker", "--timeout=120s", timeout=130)
    yield library(door)
    door.do("delete", "--yes")


def test_top_measures_nodes_and_pods(talking: Cluster, door: RealDoor) -> None:
    def measured() -> list[dict[str, float]]:
        items = json.loads(door.do("top", "pods", "-o", "json"))["items"]
        assert len(items) == 2 and all(item["cpu"] is not None and item["memoryBytes"] for item in items)
        return items  # type: ignore[no-any-return]

    eventually(measured, 60)
    nodes = json.loads(door.do("top", "-o", "json"))["items"]
    assert [node["name"] for node in nodes] == ["default", "default-2"]
    assert all(0 < node["memoryBytes"] < node["memoryTotalBytes"] == 2 * 2**30 for node in nodes), "of the node, not the host"
    measured_beside = talking._figures_of()
    assert measured_beside is not None
    cpu, memory = measure(lambda: measured_beside("default-2"))
    assert cpu is not None and memory is not None and 0.5 < memory / nodes[1]["memoryBytes"] < 2
    table = door.do("top", "nodes", "--once")
    assert table.count("░") > 20


def test_logs_of_several_pods_are_one_stream_with_those_that_come_later(talking: Cluster, door: RealDoor) -> None:
    old = door.do("logs", "deploy/talker", "--lines", "3")
    assert len({line.split()[0] for line in old.splitlines()}) == 2
    seen: dict[str, list[int]] = {}
    with talking.follow_pod_logs("deploy/talker", lines=1) as follower:
        for number, line in enumerate(follower):
            seen.setdefault(line.pod, []).append(int(line.text.split()[1]))
            if number == 10:
                door.do("kubectl", "scale", "deployment/talker", "--replicas=3")
            if len(seen) == 3 and all(len(numbers) > 5 for numbers in seen.values()):
                break
    for numbers in seen.values():
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    with running(door, "logs", "-f", "-l", "app=talker", "--lines", "1") as line:
        assert re.match(r"talker-\S+ main  line \d+$", line)
    door.fail("logs", "deploy/none", code=3)


def test_followed_logs_lose_and_repeat_nothing_when_the_api_restarts(talking: Cluster, door: RealDoor) -> None:
    pod = door.do("kubectl", "get", "pods", "-l", "app=talker", "-o", "name").split()[0]
    numbers: list[int] = []
    with talking.follow_pod_logs(pod, lines=1) as follower:
        for line in follower:
            numbers.append(int(line.text.split()[1]))
            if len(numbers) == 5:
                talking.node().run(["sv", "kill", "/run/localk8s/service/kube-apiserver"])
                before = numbers[-1]
            if len(numbers) > 5 and numbers[-1] > before + 60:
                break
    assert numbers == list(range(numbers[0], numbers[-1] + 1))


def test_files_and_directories_come_and_go(talking: Cluster, door: RealDoor, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub dir").mkdir(parents=True)
    (tree / "sub dir" / "data").write_bytes(bytes(range(256)) * 1000)
    (tree / "run.sh").write_text("#!/bin/sh\n")
    (tree / "run.sh").chmod(0o755)
    door.do("cp", str(tree), "default:/root/")
    door.do("cp", "default:/root/tree", "default-2:/root/other")
    door.do("cp", "default-2:/root/other", str(tmp_path / "back"))
    assert (tmp_path / "back/sub dir/data").read_bytes() == (tree / "sub dir/data").read_bytes()
    assert (tmp_path / "back/run.sh").stat().st_mode & 0o777 == 0o755
    door.do("cp", "default-2:/root/other/run.sh", f"{tmp_path}/")
    assert (tmp_path / "run.sh").read_text() == "#!/bin/sh\n"
    door.fail("cp", "default:/no/such", str(tmp_path / "x"), code=3)
    door.fail("cp", str(tree), "nowhere:/x", code=3)
    left = door.do("ssh", "default", "--", "ls", "/root", "/tmp")
    assert "localk8s-cp" not in left and ".localk8s.tar" not in left


def test_the_proxy_serves_programs_and_no_pages(talking: Cluster, door: RealDoor) -> None:
    with running(door, "proxy", "--port", "0") as line:
        url = line.strip()
        with urllib.request.urlopen(f"{url}/version", timeout=20) as response:
            assert json.loads(response.read())["major"] == "1"
        listed = subprocess.run(
            [talking.kubectl_program(), "--kubeconfig", "/dev/null", "-s", url, "get", "nodes", "-o", "name"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert listed.stdout.split() == ["node/default", "node/default-2"], listed.stderr
        with urllib.request.urlopen(f"{url}/api/v1/pods?watch=true&timeoutSeconds=1", timeout=20) as response:
            assert json.loads(response.readline())["type"] == "ADDED"
        for headers in ({"Host": "evil.test"}, {"Origin": "http://evil.test"}, {"Sec-Fetch-Site": "cross-site"}):
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(urllib.request.Request(f"{url}/version", headers=headers), timeout=20)


def test_names_are_kept_in_a_block_of_ones_own(talking: Cluster, door: RealDoor, tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text("127.0.0.1\tlocalhost\n")
    address = door.do("ip").strip()
    assert f"{address}\tdefault.localk8s.test\n" in door.do("hosts")
    assert "without confirmation" in door.fail("hosts", "--apply", "--file", str(file), code=2).splitlines()[-2]
    door.do("hosts", "--apply", "--yes", "--file", str(file))
    assert f"{address}\tshop.test\n" in file.read_text()
    door.do("hosts", "--remove", "--yes", "--file", str(file))
    assert file.read_text() == "127.0.0.1\tlocalhost\n"
