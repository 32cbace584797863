"""What users bring along: a current helm and a current kubectl, far newer than the cluster, find it and work on it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from small_images import CommandLine, alone, busybox_layer, write_image

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
CACHE = Path(os.environ.get("LOCALK8S_CACHE") or Path.home() / ".cache/localk8s")
CLIENTS = CACHE / "test-tools" / "clients"
CHART = {
    "Chart.yaml": "apiVersion: v2\nname: small\nversion: 0.1.0\n",
    "values.yaml": "text: first\n",
    "templates/all.yaml": """
apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Release.Name }}"}
data: {text: "{{ .Values.text }}"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: "{{ .Release.Name }}"}
spec:
  selector: {matchLabels: {app: "{{ .Release.Name }}"}}
  template:
    metadata:
      labels: {app: "{{ .Release.Name }}"}
      annotations: {text: "{{ .Values.text }}"}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: one, image: "app:1", imagePullPolicy: Never}]
""",
}


@dataclass(frozen=True)
class Clients:
    """Somebody else's programs, which know of the cluster by the user's kubeconfig alone."""

    environment: dict[str, str]

    def __call__(self, program: str, *words: str, input: str = "") -> str:
        argv = [str(CLIENTS / program), *words]
        done = subprocess.run(argv, env=self.environment, input=input, capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    alone()
    if not (CLIENTS / "helm").exists():
        pytest.skip("no helm here: make tools")
    home = tmp_path_factory.mktemp("home")
    cli = CommandLine(home)
    extra = ["--artifacts", os.environ["LOCALK8S_TEST_ARTIFACTS"]] if "LOCALK8S_TEST_ARTIFACTS" in os.environ else []
    try:
        cli("start", *extra)
        write_image(home / "app.tar", "app:1", busybox_layer())
        cli("image", "load", str(home / "app.tar"))
        yield Clients({**cli.environment, "HOME": str(home), "HELM_NO_PLUGINS": "1"})
    finally:
        cli("delete", "--yes")


def test_helm_installs_upgrades_lists_and_uninstalls_a_chart(clients: Clients, tmp_path: Path) -> None:
    for name, text in CHART.items():
        file = tmp_path / "small" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    chart = str(tmp_path / "small")
    clients("helm", "install", "mine", chart, "--wait", "--timeout", "120s")
    (release,) = json.loads(clients("helm", "list", "-o", "json"))
    assert (release["name"], release["status"], release["chart"]) == ("mine", "deployed", "small-0.1.0")
    clients("helm", "upgrade", "mine", chart, "--set", "text=second", "--wait", "--timeout", "120s")
    assert clients("kubectl", "get", "configmap", "mine", "-o", "jsonpath={.data.text}") == "second"
    assert [each["revision"] for each in json.loads(clients("helm", "history", "mine", "-o", "json"))] == [1, 2]
    clients("helm", "uninstall", "mine", "--wait")
    assert json.loads(clients("helm", "list", "-o", "json")) == []
    assert "mine" not in clients("kubectl", "get", "configmaps,deployments", "-o", "name")


def test_a_newer_kubectl_applies_waits_execs_and_deletes(clients: Clients) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "newer"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "one", "image": "app:1", "imagePullPolicy": "Never"}],
        },
    }
    clients("kubectl", "apply", "-f", "-", input=json.dumps(pod))
    clients("kubectl", "wait", "--for=condition=Ready", "pod/newer", "--timeout=60s")
    assert "newer" in clients("kubectl", "get", "pods")
    assert clients("kubectl", "exec", "newer", "--", "/bin/busybox", "echo", "inside") == "inside\n"
    assert "unchanged" in clients("kubectl", "apply", "-f", "-", input=json.dumps(pod))
    clients("kubectl", "delete", "pod", "newer")
    assert "newer" not in clients("kubectl", "get", "pods", "-o", "name")
