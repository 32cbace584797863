"""Images on a real cluster of three nodes, from loading to removing."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_images import CommandLine, alone, busybox_layer, run_pod, write_image

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
NODES = ["default", "default-2", "default-3"]
CTR = "/usr/bin/ctr"
DEAF_CTR = """#!/bin/sh
case " $* " in *" import "*) cat >/dev/null; echo unpacking; exit 0 ;; *" ingest "*) exit 1 ;; esac
exec /run/ctr-that-works "$@"
"""
"""Says that it took an image, and did not."""


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    alone()
    command_line = CommandLine(tmp_path_factory.mktemp("home"))
    extra = ["--artifacts", os.environ["LOCALK8S_TEST_ARTIFACTS"]] if "LOCALK8S_TEST_ARTIFACTS" in os.environ else []
    try:
        command_line("start", "--nodes", "3", *extra)
        yield command_line
    finally:
        command_line("delete", "--yes")


def ids(cli: CommandLine, name: str) -> dict[str, list[str]]:
    found = json.loads(cli.out("image", "ls", "-o", "json"))["items"]
    return {item["id"]: item["nodes"] for item in found if item["name"] == name}


def test_an_archive_is_on_every_node_and_pods_run_of_it(cli: CommandLine, tmp_path: Path) -> None:
    identity = write_image(tmp_path / "a.tar", "app:1", busybox_layer(), {"data": os.urandom(1 << 20)})
    said = json.loads(cli.out("image", "load", str(tmp_path / "a.tar"), "-o", "json"))["items"]
    assert said[0]["id"] == identity and said[0]["sentBytes"] > 3 << 20
    assert ids(cli, "docker.io/library/app:1") == {identity: NODES}
    for node in NODES:
        run_pod(cli, f"app-on-{node}", "app:1", node)


def test_the_same_again_sends_nothing_and_a_changed_layer_is_all_that_goes(cli: CommandLine, tmp_path: Path) -> None:
    big = {"data": os.urandom(4 << 20)}
    write_image(tmp_path / "a.tar", "part:1", busybox_layer(), big, {"version": b"1"})
    second = write_image(tmp_path / "b.tar", "part:1", busybox_layer(), big, {"version": b"2"}, command=("cat", "/version"))
    cli("image", "load", str(tmp_path / "a.tar"))
    again = json.loads(cli.out("image", "load", str(tmp_path / "a.tar"), "-o", "json"))["items"][0]
    assert again["sentBytes"] == 0
    changed = json.loads(cli.out("image", "load", str(tmp_path / "b.tar"), "-o", "json"))["items"][0]
    assert 0 < changed["sentBytes"] <= 3 * 10240
    assert ids(cli, "docker.io/library/part:1") == {second: NODES}


def test_loading_over_a_tag_in_use_gives_the_next_pod_the_new_one(cli: CommandLine, tmp_path: Path) -> None:
    write_image(tmp_path / "a.tar", "used:1", busybox_layer(), {"version": b"old"})
    cli("image", "load", str(tmp_path / "a.tar"))
    run_pod(cli, "used-old", "used:1", "default-2")
    new = write_image(tmp_path / "b.tar", "used:1", busybox_layer(), {"version": b"new"})
    cli("image", "load", str(tmp_path / "b.tar"))
    assert list(ids(cli, "docker.io/library/used:1")) == [new]
    run_pod(cli, "used-new", "used:1", "default-2")
    for pod, version in (("used-old", "old"), ("used-new", "new")):
        assert cli.out("kubectl", "exec", pod, "--", "/bin/busybox", "cat", "/version") == version


def test_a_packed_stream_onto_one_node_under_another_name(cli: CommandLine, tmp_path: Path) -> None:
    identity = write_image(tmp_path / "a.tar", "whatever:1", {"x": b"x"})
    packed = gzip.compress((tmp_path / "a.tar").read_bytes())
    cli("image", "load", "-", "--name", "one.example/here:1", "--node", "default-3", input=packed)
    assert ids(cli, "one.example/here:1") == {identity: ["default-3"]}
    assert not ids(cli, "docker.io/library/whatever:1")


def test_saved_and_loaded_again_it_is_the_same(cli: CommandLine, tmp_path: Path) -> None:
    identity = write_image(tmp_path / "a.tar", "kept:1", busybox_layer())
    cli("image", "load", str(tmp_path / "a.tar"))
    cli("image", "save", "kept:1", str(tmp_path / "saved.tar"))
    streamed = cli("image", "save", "kept:1", "-").stdout
    cli("image", "tag", "kept:1", "kept:2")
    assert ids(cli, "docker.io/library/kept:2") == {identity: NODES}
    cli("image", "rm", "kept:1")
    assert ids(cli, "docker.io/library/kept:2") == {identity: NODES}
    cli("image", "rm", "kept:2")
    assert identity not in cli.out("image", "ls", "-o", "json")
    cli("image", "load", str(tmp_path / "saved.tar"))
    assert ids(cli, "docker.io/library/kept:1") == {identity: NODES}
    cli("image", "rm", "kept:1")
    cli("image", "load", "-", input=streamed)
    assert ids(cli, "docker.io/library/kept:1") == {identity: NODES}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("load", "/nowhere/x.tar"), 3),
        (("load", "no-such-image-anywhere"), 3),
        (("load", "NO SUCH"), 2),
        (("load", "/etc/hostname"), 2),
        (("rm", "nothing:1"), 3),
        (("tag", "nothing:1", "a:2"), 3),
        (("save", "nothing:1", "/tmp/never.tar"), 3),
        (("save", "only-one"), 2),
        (("pull", "127.0.0.1:1/nothing:1"), 6),
    ],
)
def test_what_cannot_be_is_said(cli: CommandLine, arguments: tuple[str, ...], code: int) -> None:
    done = cli("image", *arguments, code=code)
    assert b"Traceback" not in done.stderr and done.stdout == b""


def test_a_layer_that_is_not_what_it_says_is_loaded_nowhere(cli: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write_image(path, "wrong:1", {"x": b"unmistakable-content"})
    path.write_bytes(path.read_bytes().replace(b"unmistakable-content", b"unmistakable-CONTENT"))
    cli("image", "load", str(path), code=2)
    assert not ids(cli, "docker.io/library/wrong:1")


def test_an_image_of_this_host_s_podman(cli: CommandLine, tmp_path: Path) -> None:
    if shutil.which("podman") is None:
        pytest.fail("podman is not installed: scripts/test-tools installs it")
    storage = tmp_path / "storage.conf"
    storage.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/images"\nrunroot = "{tmp_path}/run"\n')
    theirs = {**cli.environment, "CONTAINERS_STORAGE_CONF": str(storage), "DOCKER_HOST": f"unix://{tmp_path}/no-docker.sock"}
    identity = write_image(tmp_path / "a.tar", "localhost/of-podman:1", busybox_layer(), {"data": b"podman"})
    subprocess.run(["podman", "load", "-q", "-i", tmp_path / "a.tar"], env=theirs, check=True, capture_output=True, timeout=60)
    mine, cli.environment = cli.environment, theirs
    try:
        cli("image", "load", "localhost/of-podman:1")
    finally:
        cli.environment = mine
    assert ids(cli, "localhost/of-podman:1") == {identity: NODES}
    run_pod(cli, "of-podman", "localhost/of-podman:1", "default-3")


def test_a_node_that_only_says_that_it_took_the_image_is_found_out(cli: CommandLine, tmp_path: Path) -> None:
    write_image(tmp_path / "a.tar", "lost:1", {"x": b"lost"})
    deaf = "cat >/run/deaf && chmod +x /run/deaf && cp -a $0 /run/ctr-that-works && mount --bind /run/deaf $0"
    cli("ssh", "default-3", "--", "sh", "-c", deaf, CTR, input=DEAF_CTR.encode())
    try:
        failed = cli("image", "load", str(tmp_path / "a.tar"), code=7)
    finally:
        cli("ssh", "default-3", "--", "umount", CTR)
    assert b"default-3" in failed.stderr and b"lost:1 is not there" in failed.stderr
    assert ids(cli, "docker.io/library/lost:1") == {f"{next(iter(ids(cli, 'docker.io/library/lost:1')))}": NODES[:2]}


@pytest.fixture(scope="class")
def node_off(cli: CommandLine) -> Iterator[None]:
    cli("node", "stop", "default-2")
    yield
    cli("node", "start", "default-2")


@pytest.mark.usefixtures("node_off")
class TestANodeOff:
    def test_images_of_the_others_are_listed(self, cli: CommandLine) -> None:
        done = cli("image", "ls", "-o", "json")
        assert b"default-2 is off and was left out." in done.stderr
        nodes = [set(item["nodes"]) for item in json.loads(done.stdout)["items"]]
        assert {"default", "default-3"} in nodes and not any("default-2" in each for each in nodes)

    def test_the_others_take_an_image_and_lose_it(self, cli: CommandLine, tmp_path: Path) -> None:
        identity = write_image(tmp_path / "a.tar", "without:1", {"x": b"without"})
        assert b"default-2 is off and was left out." in cli("image", "load", str(tmp_path / "a.tar")).stderr
        assert ids(cli, "docker.io/library/without:1") == {identity: ["default", "default-3"]}
        assert b"default-2 is off and was left out." in cli("image", "rm", "without:1").stderr
        refused = cli("image", "load", str(tmp_path / "a.tar"), "--node", "default-2", code=4)
        assert b"Node default-2 is off." in refused.stderr and b"localk8s node start default-2" in refused.stderr

    def test_the_others_have_a_mount(self, cli: CommandLine, tmp_path: Path) -> None:
        (tmp_path / "hello").write_text("here")
        done = cli("mount", f"{tmp_path}:/srv/off")
        assert done.stdout.decode() == f"{tmp_path} is mounted at /srv/off on default, default-3.\n"
        assert b"Left out: Node default-2 is not running." in done.stderr
        assert cli.out("ssh", "default-3", "--", "cat", "/srv/off/hello") == "here"
        assert b"default-2 is not running" in cli("mount", f"{tmp_path}:/srv/off", "--node", "default-2", code=4).stderr
        cli("mount", "--remove", "/srv/off")
        cli("ssh", "default", "--", "test", "-e", "/srv/off/hello", code=1)
