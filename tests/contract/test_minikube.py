"""The minikube driver keeps the contract: on the fake one always, on a real one with ``make test-minikube``."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from driver_contract import DriverContract, Outcome, Run

FAKE = Path(__file__).parent.parent / "fakes" / "minikube" / "bin"
ONE_NODE = ("none", "ssh")


def localk8s(environment: dict[str, str], limit: float) -> Run:
    def run(*words: str) -> Outcome:
        code = "import sys; from localk8s.cli.app import main; sys.exit(main())"
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=limit,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("minikube") / "kubeconfig"


class OnTheFake(DriverContract):
    """A world of fake machines for the whole story."""

    driver = "minikube"

    @pytest.fixture(scope="class")
    @classmethod
    def run(cls, tmp_path_factory: pytest.TempPathFactory, path: Path) -> Iterator[Run]:
        root = tmp_path_factory.mktemp("world")
        (root / "servers").mkdir()
        programs = root / "bin"
        programs.mkdir()
        for name in ("minikube", "ssh", "docker"):
            text = f"import runpy\nrunpy.run_path({str(FAKE / name)!r}, run_name='__main__')\n"
            (programs / name).write_text(f"#!{sys.executable} -ISB\n{text}")
            (programs / name).chmod(0o755)
        config = root / "config.yaml"
        config.write_text("sources: {offline: true}\n")  # nothing is ever fetched for a test
        environment = {
            "FAKE_MINIKUBE_WORLD": str(root),
            "HOME": str(root / "home"),
            "KUBECONFIG": str(path),
            "LOCALK8S_CONFIG": str(config),
            "LOCALK8S_HOME": str(root / "l8s"),
            "LOCALK8S_OFFLINE": "0",
            "PATH": f"{programs}:{os.environ['PATH']}",
        }
        yield localk8s(environment, 120)
        shutil.rmtree(root / "servers")  # the fake's servers end by themselves


class TestContainers(OnTheFake):
    """On minikube's docker driver."""

    start_options = ("--vm-driver", "docker", "--driver-option", "container-runtime=containerd")


class TestVirtualMachines(OnTheFake):
    """On one of minikube's drivers with machines of their own."""

    nodes = 1
    start_options = ("--vm-driver", "vmware", "--memory", "8096", "--disk-size", "30g")


class TestThisHost(OnTheFake):
    """On minikube's none driver, as on a host that is offline."""

    nodes = 1
    start_options = ("--vm-driver", "none", "--kubernetes-version", "1.20.2", "--minikube-arg", "--force")


VM_DRIVER = os.environ.get("LOCALK8S_TEST_VM_DRIVER", "")
KUBERNETES = os.environ.get("LOCALK8S_TEST_KUBERNETES", "")
ARGUMENTS = shlex.split(os.environ.get("LOCALK8S_TEST_MINIKUBE_ARGS", ""))
WHY_NOT = (
    "no real minikube was tried: LOCALK8S_TEST_VM_DRIVER names none of its drivers"
    if not VM_DRIVER
    else "no real minikube was tried: there is none on PATH"
    if shutil.which("minikube") is None
    else ""
)


@pytest.mark.real
@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
class TestRealMinikube(DriverContract):
    """On the minikube of this host, with its own home folder and cache."""

    driver = "minikube"
    nodes = 1 if VM_DRIVER in ONE_NODE else 2
    start_options = (
        "--vm-driver",
        VM_DRIVER,
        *(("--kubernetes-version", KUBERNETES) if KUBERNETES else ()),
        *(word for argument in (ARGUMENTS or ["--force"]) for word in ("--minikube-arg", argument)),
    )

    @pytest.fixture(scope="class")
    @classmethod
    def run(cls, tmp_path_factory: pytest.TempPathFactory, path: Path) -> Iterator[Run]:
        root = tmp_path_factory.mktemp("real")
        own = {name: text for name, text in os.environ.items() if not name.startswith("LOCALK8S_") or name == "LOCALK8S_CACHE"}
        cache = os.environ.get("LOCALK8S_CACHE") or str(Path("~/.cache/localk8s").expanduser())
        environment = {**own, "LOCALK8S_HOME": str(root / "l8s"), "LOCALK8S_CACHE": cache, "KUBECONFIG": str(path)}
        run = localk8s(environment, 1800)
        yield run
        run("delete", "-c", cls.name, "--yes")

    def test_11b_this_clusters_demo_answers(self, run: Run) -> None:
        """Before the cluster is deleted: a demo without one would start the driver that fits this host best."""
        before = self.status(run)
        assert (before["state"], before["driver"]) == ("running", "minikube")
        demo = json.loads(self.do(run, "demo", "-o", "json"))
        assert demo["answer"]["node"] in {node["name"] for node in before["nodes"]}
        assert demo["answer"]["pod"] in self.do(run, "kubectl", "get", "pods", "-A")
        self.do(run, "demo", "--delete")
        assert self.status(run)["driver"] == "minikube"

    def test_12_delete_takes_all_of_it(self, run: Run, path: Path) -> None:
        """Told again so that it stays the last one."""
        super().test_12_delete_takes_all_of_it(run, path)
