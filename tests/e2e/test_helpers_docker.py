"""docker-env on a real cluster of two nodes: build, and a pod that may not pull runs of it on the other node."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_images import BUSYBOX, LOCALK8S, CommandLine, alone, busybox_layer, run_pod, write_image

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    alone()
    command_line = CommandLine(tmp_path_factory.mktemp("home"))
    extra = ["--artifacts", os.environ["LOCALK8S_TEST_ARTIFACTS"]] if "LOCALK8S_TEST_ARTIFACTS" in os.environ else []
    try:
        command_line("start", "--nodes", "2", *extra)
        yield command_line
    finally:
        command_line("delete", "--yes")


def shell(cli: CommandLine, script: str, *, code: int = 0) -> str:
    environment = {**cli.environment, "PATH": f"{LOCALK8S.parent}:{os.environ['PATH']}", "DOCKER_BUILDKIT": "0"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def wait_for(cli: CommandLine, name: str, *, seconds: float = 30) -> str:
    """The id under which both nodes have ``name``."""
    deadline = time.monotonic() + seconds
    while True:
        rows = [line.split() for line in cli.out("image", "ls").splitlines()]
        found = [row[1] for row in rows if row[0] == name and row[-1] == "all"]
        if found:
            return found[0]
        assert time.monotonic() < deadline, rows
        time.sleep(0.2)


class TestDockerEnv:
    def test_what_is_built_runs_on_the_other_node(self, cli: CommandLine, tmp_path: Path) -> None:
        shutil.copy(BUSYBOX, tmp_path / "busybox")
        (tmp_path / "Dockerfile").write_text(
            "FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\n"
            "RUN /bin/busybox mkdir -p /a/b && /bin/busybox ln /bin/busybox /a/hard && /bin/busybox touch '/with space'\n"
            "RUN /bin/busybox rm '/with space' && echo built >/version\n"
            'CMD ["/bin/busybox", "sleep", "3600"]\n'
        )
        printed = shell(cli, f"eval $(localk8s docker-env) && docker build -q -t app {tmp_path}")
        assert printed.strip().startswith("sha256:")
        run_pod(cli, "app", "app", "default-2")
        assert wait_for(cli, "docker.io/library/app:latest") == printed.strip()[: len("sha256:") + 12]
        assert cli.out("kubectl", "exec", "app", "--", "/bin/busybox", "cat", "/version") == "built\n"
        assert cli.out("kubectl", "exec", "app", "--", "/bin/busybox", "ls", "/a") == "b\nhard\n"

    def test_what_is_tagged_and_loaded_there_follows(self, cli: CommandLine, tmp_path: Path) -> None:
        write_image(tmp_path / "a.tar", "loaded:1", busybox_layer(), {"data": os.urandom(1 << 20)})
        shell(cli, f"eval $(localk8s docker-env) && docker load -qi {tmp_path}/a.tar && docker tag loaded:1 other.example/x:2")
        assert wait_for(cli, "docker.io/library/loaded:1") == wait_for(cli, "other.example/x:2")

    def test_built_again_the_tag_leads_to_the_new_one(self, cli: CommandLine, tmp_path: Path) -> None:
        for version in ("1", "2"):
            (tmp_path / "Dockerfile").write_text(f"FROM loaded:1\nLABEL version={version}\n")
            built = cli("image", "build", "-q", "-t", "again", str(tmp_path)).stdout.decode().strip()
            deadline = time.monotonic() + 30
            while wait_for(cli, "docker.io/library/again:latest") != built[:19]:
                assert time.monotonic() < deadline
                time.sleep(0.2)

    def test_the_user_s_certificates_are_for_nobody_else_and_others_are_turned_away(self, cli: CommandLine) -> None:
        place = shell(cli, 'eval $(localk8s docker-env); echo "$DOCKER_CERT_PATH"').strip()
        for name in ("ca.pem", "cert.pem", "key.pem"):
            assert stat.S_IMODE((Path(place) / name).stat().st_mode) == 0o600
        assert stat.S_IMODE(Path(place).stat().st_mode) == 0o700
        line = "unset DOCKER_TLS_VERIFY DOCKER_CERT_PATH; docker -H $DOCKER_HOST --tls version"
        shell(cli, f"eval $(localk8s docker-env); {line}", code=1)

    def test_unset_restores_what_was_there_and_nothing_else(self, cli: CommandLine) -> None:
        script = (
            "export DOCKER_HOST='unix:///my  docker *' OTHER=1; before=$(env | grep -v '^_=' | sort)\n"
            'eval $(localk8s docker-env); [ "$DOCKER_TLS_VERIFY" = 1 ] || exit 9; eval $(localk8s docker-env)\n'
            "docker version >/dev/null || exit 8\n"
            'eval $(localk8s docker-env --unset); after=$(env | grep -v "^_=" | sort); [ "$before" = "$after" ]\n'
            '[ -z "$(localk8s docker-env --unset)" ]'
        )
        shell(cli, script)

    def test_after_a_stop_and_a_start_docker_and_the_registry_are_there_again_by_themselves(
        self, cli: CommandLine, tmp_path: Path
    ) -> None:
        variables = shell(cli, "localk8s docker-env")
        registry = cli.out("registry", "start", "-o", "name").strip()
        cli("stop")
        cli("start")
        (tmp_path / "Dockerfile").write_text("FROM loaded:1\nLABEL after=start\n")
        tries = "for i in $(seq 60); do docker version >/dev/null 2>&1 && break; sleep 0.5; done"
        built = shell(cli, f"{variables}\n{tries}; docker build -q -t after {tmp_path}").strip()
        assert wait_for(cli, "docker.io/library/after:latest") == built[:19]
        run_pod(cli, "after", "after", "default-2")
        with urllib.request.urlopen(f"http://{registry}/v2/", timeout=5) as answer:
            assert answer.status == 200
        cli("registry", "stop")
        kept = cli.out("ssh", "default", "--", "ls", "/var/lib/localk8s/services").split()
        assert kept == ["docker", "docker-follow-default", "docker-serve"], "what was stopped does not come back"

    def test_an_image_of_the_docker_that_this_host_s_client_reaches(self, cli: CommandLine, tmp_path: Path) -> None:
        write_image(tmp_path / "a.tar", "of-docker:1", busybox_layer())
        shell(cli, f"eval $(localk8s docker-env) && docker load -qi {tmp_path}/a.tar")
        identity = wait_for(cli, "docker.io/library/of-docker:1")
        cli("image", "rm", "of-docker:1")
        said = shell(cli, "eval $(localk8s docker-env) && localk8s image load of-docker:1")
        assert said == "docker.io/library/of-docker:1 is on default, default-2.\n"
        assert wait_for(cli, "docker.io/library/of-docker:1", seconds=0) == identity

    def test_a_node_that_was_off_has_what_was_built_when_it_is_back(self, cli: CommandLine, tmp_path: Path) -> None:
        cli("node", "stop", "default-2")
        (tmp_path / "Dockerfile").write_text("FROM loaded:1\nLABEL built=meanwhile\n")
        printed = shell(cli, f"eval $(localk8s docker-env) && docker build -q -t meanwhile {tmp_path} 2>/dev/null").strip()
        assert b"default-2" in cli("docker-env").stderr
        registry = cli.out("registry", "start", "-q").strip()
        looked = cli("registry", "status", code=4).stdout.decode()
        assert "default    yes" in looked and "the node is off" in looked
        assert b"Node default-2 is off." in cli("docker-env", "--node", "default-2", code=4).stderr
        cli("node", "start", "default-2")
        assert wait_for(cli, "docker.io/library/meanwhile:latest") == printed[:19]
        assert "docker.io/library/loaded:1" in cli.out("image", "ls", "-o", "name")
        assert json.loads(cli.out("registry", "status", "-o", "json"))["nodes"][1] == {
            "name": "default-2", "reaches": True, "reason": "",
        }  # fmt: skip
        assert registry in cli.out("registry", "list")

    def test_a_docker_on_the_other_node_beside_the_first(self, cli: CommandLine, tmp_path: Path) -> None:
        address = cli.out("ip", "default-2").strip()
        (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\nLABEL where=second\n")
        printed = shell(
            cli, f'eval $(localk8s docker-env --node default-2) && echo "$DOCKER_HOST" && docker build -q -t second {tmp_path}'
        ).split()
        assert printed[0] == f"tcp://{address}:2376"
        assert wait_for(cli, "docker.io/library/second:latest") == printed[1][:19]
        (tmp_path / "Dockerfile").write_text("FROM loaded:1\nLABEL where=first\n")
        first = shell(cli, f"eval $(localk8s docker-env) && docker build -q -t first {tmp_path}").strip()
        assert wait_for(cli, "docker.io/library/first:latest") == first[:19]

    def test_what_came_later_is_not_replaced_by_what_docker_has_when_a_node_starts_again(
        self, cli: CommandLine, tmp_path: Path
    ) -> None:
        write_image(tmp_path / "a.tar", "both:1", {"x": b"docker's"})
        shell(cli, f"eval $(localk8s docker-env) && docker load -qi {tmp_path}/a.tar")
        wait_for(cli, "docker.io/library/both:1")
        later = write_image(tmp_path / "b.tar", "both:1", {"x": b"later"})
        cli("image", "load", str(tmp_path / "b.tar"))
        cli("node", "stop", "default-2")
        cli("node", "start", "default-2")
        (tmp_path / "Dockerfile").write_text("FROM loaded:1\nLABEL follows=again\n")
        shell(cli, f"eval $(localk8s docker-env) && docker build -q -t follows {tmp_path}")
        wait_for(cli, "docker.io/library/follows:latest")
        assert wait_for(cli, "docker.io/library/both:1", seconds=0) == later[:19]


def test_a_failure_evaluates_to_false(cli: CommandLine) -> None:
    for arguments in ("-c nowhere", "--node nowhere", "--shell nonsense", "--no-such-option"):
        assert shell(cli, f"localk8s docker-env {arguments} || true") == "false;\n"
        shell(cli, f"eval $(localk8s docker-env {arguments}) && exit 7; exit 0")
