"""The lines that users type, and on which driver each works: README's table, and its proof.

``LINES`` is the table (``scripts/docs.py`` writes it into README.md). Every cell that says "works" is run: on a native cluster
of two nodes and a Vagrant cluster of three LXC machines for real, on minikube as far as a fake that answers as a recorded
minikube can tell. Every "no" is run too: it ends with exit code 8 and says what to do instead.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from minikube_world import World
from small_images import BUSYBOX, LOCALK8S, CommandLine, alone, busybox_layer, write_image
from vagrant_world import need

NATIVE, VAGRANT, MINIKUBE = "native", "vagrant on LXC", "minikube"
PLACES = (NATIVE, VAGRANT, MINIKUBE)


@dataclass(frozen=True)
class Cell:
    """One line on one driver."""

    works: bool
    note: str = ""
    """What has to be known; of what does not work, why."""
    run: bool = True
    """Whether it is run here."""

    def __str__(self) -> str:
        word = ("yes" if self.works else "no") if self.run else "not run"
        return f"{word}: {self.note}" if self.note else word


WORKS = Cell(True)
UNSEEN = Cell(True, run=False)
"""The fake has no pods."""


def only(note: str) -> Cell:
    """It works with a condition."""
    return Cell(True, note)


def not_supported(reason: str) -> Cell:
    """It ends with exit code 8."""
    return Cell(False, reason)


@dataclass(frozen=True)
class Line:
    """A row."""

    typed: str
    cells: tuple[Cell, Cell, Cell]
    check: Callable[[User], None]
    refused: tuple[str, ...] = ()
    """What is typed where it is not supported."""


class User(CommandLine):
    """Somebody with a cluster on one driver, in which ``demo`` runs, where pods can."""

    def __init__(self, home: Path, place: str, directory: str) -> None:
        super().__init__(home)
        self.place = place
        self.directory = directory
        """Of a node, where files may be put."""
        self.work = home / "work"
        self.work.mkdir()

    @property
    def nodes(self) -> list[dict[str, Any]]:
        return list(json.loads(self.out("status", "-o", "json"))["nodes"])

    @contextmanager
    def running(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """A command that goes on until Ctrl-C, which ends it at once."""
        process = subprocess.Popen(
            [str(LOCALK8S), *words], env=self.environment, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                code = process.wait(20)
            finally:
                process.kill()
                _, complaints = process.communicate()
        assert code in (0, 130) and "Traceback" not in complaints, complaints

    def shell(self, script: str) -> str:
        environment = {**self.environment, "PATH": f"{LOCALK8S.parent}:{self.environment['PATH']}", "DOCKER_BUILDKIT": "0"}
        done = subprocess.run(
            ["bash", "-ec", script], env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def kubectl(self, *words: str) -> str:
        return self.out("kubectl", "--", *words)

    def run_pod(self, name: str, image: str, node: str) -> None:
        """Run a pod that may not pull on a node, and wait for it."""
        overrides = {"spec": {"nodeName": node, "terminationGracePeriodSeconds": 0}}
        self.kubectl("run", name, "--image", image, "--image-pull-policy", "Never", "--overrides", json.dumps(overrides))
        self.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=120s")

    def images(self) -> dict[str, str]:
        return {each["name"]: each["id"] for each in json.loads(self.out("image", "ls", "-o", "json"))["items"]}


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def get(url: str, *, seconds: float = 30) -> str:
    """What is answered; a service or a tunnel may need a moment."""
    deadline = time.monotonic() + seconds
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    while True:
        try:
            with browser.open(url, timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def until(true: Callable[[], Any], *, seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, f"{true.__name__} did not become true"
        time.sleep(0.2)
    return found


def check_ip(user: User) -> None:
    assert user.out("ip").strip() == user.nodes[0]["address"]


def check_dashboard(user: User) -> None:
    with user.running("dashboard", "--url") as process:
        assert "<html" in get(line_of(process))


def check_own_dashboard(user: User) -> None:
    with user.running("dashboard", "--ui", "minikube", "--url") as process:
        assert "Dashboard" in get(line_of(process))


def check_demo(user: User) -> None:
    said = json.loads(user.out("demo", "-o", "json"))
    assert said["status"] == 200 and said["answer"]["pod"].startswith("demo-")


def check_docker_env(user: User) -> None:
    if user.place == MINIKUBE:
        printed = user.shell('eval $(localk8s docker-env); echo "$DOCKER_HOST"')
        assert printed == "tcp://127.0.0.1:32842\n"
        return
    _dockerfile(user)
    user.shell(f"eval $(localk8s docker-env); docker build -q -t built {user.work}")
    for node in user.nodes:
        user.run_pod(f"built-{node['name']}", "built", node["name"])


def check_port_forward(user: User) -> None:
    with user.running("port-forward", "svc/demo", "0:8080", "-o", "name") as process:
        assert "demo-" in get(f"http://{line_of(process)}/")


def check_service(user: User) -> None:
    assert "demo-" in get(user.out("service", "demo", "--url").splitlines()[0])


def check_tunnel(user: User) -> None:
    user.kubectl("expose", "deployment", "demo", "--name", "tunnelled", "--type", "LoadBalancer", "--port", "18080",
                 "--target-port", "8080")  # fmt: skip

    def announced() -> list[dict[str, str]]:
        status = json.loads(user.kubectl("get", "service", "tunnelled", "-o", "json"))["status"]
        return list(status["loadBalancer"].get("ingress") or [])

    with user.running("tunnel"):
        where = until(announced)[0]
        assert "demo-" in get(f"http://{where.get('ip') or where['hostname']}:18080/")
    assert announced() == []


def check_hosts(user: User) -> None:
    file = user.work / "hosts"
    file.write_text("127.0.0.1 localhost\n")
    user("hosts", "--apply", "--yes", "--file", str(file))
    text = file.read_text()
    assert all(f"{node['address']}\t{node['name']}." in text for node in user.nodes)
    user("hosts", "--remove", "--yes", "--file", str(file))
    assert file.read_text() == "127.0.0.1 localhost\n"


def check_proxy(user: User) -> None:
    with user.running("proxy", "-p", "0", "-o", "name") as process:
        assert get(f"{line_of(process)}/readyz") == "ok"


def check_cp(user: User) -> None:
    node = user.nodes[-1]["name"]
    (user.work / "sent").write_text("there and back")
    user("ssh", node, "--", "mkdir", "-p", user.directory)
    user("cp", str(user.work / "sent"), f"{node}:{user.directory}/sent")
    assert user.out("ssh", node, "--", "cat", f"{user.directory}/sent") == "there and back"
    user("cp", f"{node}:{user.directory}/sent", str(user.work / "back"))
    assert (user.work / "back").read_text() == "there and back"


def check_top_nodes(user: User) -> None:
    table = until(lambda: (text := user.out("top", "nodes", "--once")).count("MiB") >= len(user.nodes) and text)
    assert all(node["name"] in table for node in user.nodes)


def check_top_pods(user: User) -> None:
    until(lambda: "demo-" in user.out("top", "pods", "--once"))


def check_logs(user: User) -> None:
    loop = "i=0; while true; do i=$((i+1)); echo tick $i; /bin/busybox sleep 1; done"
    write_image(user.work / "ticking.tar", "ticking:1", busybox_layer(), command=("sh", "-c", loop))
    user("image", "load", str(user.work / "ticking.tar"))
    user.run_pod("ticking", "ticking:1", user.nodes[-1]["name"])
    with user.running("logs", "-f", "pod/ticking") as process:
        assert process.stdout is not None
        seen = [process.stdout.readline() for _ in range(4)]
    assert sum("tick" in each for each in seen) >= 3, seen


def check_image_load(user: User) -> None:
    identity = write_image(user.work / "app.tar", "app:1", busybox_layer())
    user("image", "load", str(user.work / "app.tar"))
    assert user.images()["docker.io/library/app:1"] == identity


def check_image_save(user: User) -> None:
    user("image", "save", "app:1", str(user.work / "saved.tar"))
    user("image", "load", str(user.work / "saved.tar"), "--name", "again:1")
    found = user.images()
    assert found["docker.io/library/again:1"] == found["docker.io/library/app:1"]


def check_image_ls(user: User) -> None:
    assert "docker.io/library/app:1" in user.out("image", "ls", "-o", "name").split()


def check_image_tag(user: User) -> None:
    user("image", "tag", "app:1", "other.example/app:2")
    found = user.images()
    assert found["other.example/app:2"] == found["docker.io/library/app:1"]


def check_image_rm(user: User) -> None:
    user("image", "rm", "again:1", "other.example/app:2")
    assert not {"docker.io/library/again:1", "other.example/app:2"} & set(user.images())


def check_image_build(user: User) -> None:
    _dockerfile(user)
    user("image", "build", "-q", "-t", "made:1", str(user.work))
    until(lambda: "docker.io/library/made:1" in user.images())


def check_registry(user: User) -> None:
    registry = user.out("registry", "start", "-o", "name").strip()
    name = f"{registry}/app:1"
    user.shell(
        f"eval $(localk8s docker-env); docker load -qi {user.work}/app.tar; docker tag app:1 {name}; docker push -q {name}"
    )
    user("image", "pull", name)
    assert user.images()[name] == user.images()["docker.io/library/app:1"]


def check_mount(user: User) -> None:
    source, target = user.work / "shared", f"{user.directory}/shared"
    source.mkdir()
    (source / "file").write_text("one place")
    user("mount", f"{source}:{target}")
    assert user.out("ssh", user.nodes[-1]["name"], "--", "cat", f"{target}/file") == "one place"
    user("mount", "--remove", target)
    user("ssh", user.nodes[-1]["name"], "--", "test", "!", "-e", f"{target}/file")


def _dockerfile(user: User) -> None:
    shutil.copy(BUSYBOX, user.work / "busybox")
    lines = ["FROM scratch", "COPY busybox /bin/busybox", 'CMD ["/bin/busybox", "sleep", "3600"]']
    (user.work / "Dockerfile").write_text("\n".join(lines) + "\n")


DOCKER_HERE = not_supported("it brings none")
LINES = (
    Line("localk8s ip", (WORKS, WORKS, WORKS), check_ip),
    Line("localk8s demo", (WORKS, WORKS, UNSEEN), check_demo),
    Line("localk8s dashboard --url", (WORKS, WORKS, UNSEEN), check_dashboard),
    Line(
        "localk8s dashboard --ui minikube --url",
        (not_supported("that is minikube's own"), not_supported("that is minikube's own"), WORKS),
        check_own_dashboard,
        ("dashboard", "--ui", "minikube", "--url"),
    ),
    Line("localk8s image load app.tar", (WORKS, WORKS, WORKS), check_image_load),
    Line("localk8s image ls", (WORKS, WORKS, WORKS), check_image_ls),
    Line("localk8s image save app:1 saved.tar", (WORKS, WORKS, WORKS), check_image_save),
    Line("localk8s image tag app:1 app:2", (WORKS, WORKS, WORKS), check_image_tag),
    Line("localk8s image rm app:2", (WORKS, WORKS, WORKS), check_image_rm),
    Line(
        "eval $(localk8s docker-env); docker build -t app .; kubectl run app …",
        (only("pods on every node"), only("pods on every node"), only("one node; run: the variables")),
        check_docker_env,
    ),
    Line("localk8s image build -t app .", (WORKS, WORKS, WORKS), check_image_build),
    Line(
        "localk8s registry start; docker push; localk8s image pull",
        (WORKS, WORKS, not_supported("image load does it")),
        check_registry,
        ("registry", "start"),
    ),
    Line("localk8s port-forward svc/demo 0:8080", (WORKS, WORKS, UNSEEN), check_port_forward),
    Line("localk8s service demo --url", (WORKS, WORKS, UNSEEN), check_service),
    Line("localk8s tunnel", (WORKS, only("on localhost"), UNSEEN), check_tunnel),
    Line("localk8s hosts --apply", (WORKS, WORKS, WORKS), check_hosts),
    Line("localk8s proxy", (WORKS, WORKS, WORKS), check_proxy),
    Line("localk8s cp file NODE:/path", (WORKS, WORKS, WORKS), check_cp),
    Line("localk8s mount .:/src", (WORKS, only("but not on virtual machines"), only("one node")), check_mount),
    Line("localk8s top nodes", (WORKS, WORKS, UNSEEN), check_top_nodes),
    Line("localk8s top pods", (WORKS, WORKS, UNSEEN), check_top_pods),
    Line("localk8s logs -f pod/app", (WORKS, WORKS, UNSEEN), check_logs),
)


def table() -> str:
    """The table in Markdown."""
    rows = [f"| what is typed | {' | '.join(PLACES)} |", f"| --- |{' --- |' * len(PLACES)}"]
    rows += [f"| `{line.typed}` | {' | '.join(map(str, line.cells))} |" for line in LINES]
    return "\n".join(rows) + "\n"


@pytest.fixture(scope="module", params=PLACES)
def user(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    alone()
    place, home = request.param, tmp_path_factory.mktemp("home")
    if place == VAGRANT:
        need("vagrant-lxc", "lxc-create", "mmdebstrap")
    with pytest.MonkeyPatch.context() as monkeypatch:
        world = World(home, monkeypatch) if place == MINIKUBE else None
        someone = User(home, place, "/srv" if world else "/var/lib/tried")
        extra = ["--artifacts", os.environ["LOCALK8S_TEST_ARTIFACTS"]] if "LOCALK8S_TEST_ARTIFACTS" in os.environ else []
        how = {
            NATIVE: ("native", "--nodes", "2", *extra),
            VAGRANT: ("vagrant", "--driver-option", "provider=lxc", "--nodes", "3", "--memory", "2g", *extra),
            MINIKUBE: ("minikube", "--vm-driver", "docker"),
        }
        try:
            someone("start", "--driver", *how[place], timeout=900)
            if world is None:
                someone("demo")
            yield someone
        finally:
            someone("delete", "--yes")
            if world is not None:
                world.close()


@pytest.mark.real
@pytest.mark.timeout(900)
@pytest.mark.parametrize("line", LINES, ids=[line.typed.removeprefix("localk8s ") for line in LINES])
def test_what_works_where(user: User, line: Line) -> None:
    cell = line.cells[PLACES.index(user.place)]
    if not cell.run:
        pytest.skip("the fake has no pods")
    if cell.works:
        line.check(user)
    else:
        said = user(*line.refused, code=8).stderr.decode()
        assert "error: " in said and "hint: localk8s " in said
