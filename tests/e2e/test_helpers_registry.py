"""A local registry, mirrors and mounts on a real cluster of two nodes."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from small_images import CommandLine, alone, busybox_layer, run_pod, write_image

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
CTR = ("ctr", "-n", "k8s.io")


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


@pytest.fixture(scope="module")
def registry(cli: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its address; ``app:1`` is in it, and ``google/app:1``, and on no node."""
    address = cli.out("registry", "start", "-o", "name").strip()
    archive = tmp_path_factory.mktemp("image") / "a.tar"
    for name in ("library/app:1", "google/app:1"):
        write_image(archive, f"{address}/{name}", busybox_layer(), {"version": name.encode()})
        cli("image", "load", str(archive), "--node", "default")
        cli("ssh", "default", "--", *CTR, "images", "push", "--plain-http", f"{address}/{name}")
        cli("image", "rm", f"{address}/{name}")
    return address


@pytest.fixture
def untrusted(tmp_path: Path) -> Iterator[str]:
    """A server with a certificate that nobody signed; its address, as the nodes see it."""
    names = [str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-keyout", names[0], "-out", names[1]],
        check=True,
        capture_output=True,
    )
    gateway = next(
        each["addr_info"][0]["local"]
        for each in json.loads(subprocess.run(["ip", "-j", "-4", "addr"], check=True, capture_output=True).stdout)
        if each["addr_info"] and each["addr_info"][0]["local"].startswith("10.")
    )
    server = ThreadingHTTPServer((gateway, 0), BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(names[1], names[0])
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://{gateway}:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def configure(cli: CommandLine, mirrors: object) -> None:
    file = cli.home / "config" / "config.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"mirrors": mirrors}))


def test_the_registry_is_reached_from_here_and_announced(cli: CommandLine, registry: str) -> None:
    with urllib.request.urlopen(f"http://{registry}/v2/_catalog", timeout=5) as answer:
        assert json.load(answer)["repositories"] == ["google/app", "library/app"]
    announced = cli.out("kubectl", "get", "configmap", "-n", "kube-public", "local-registry-hosting", "-o", "json")
    assert f'host: "{registry}"' in json.loads(announced)["data"]["localRegistryHosting.v1"]


def test_quietly_only_its_address_is_printed_and_its_status_names_the_nodes_that_reach_it(
    cli: CommandLine, registry: str
) -> None:
    assert cli("registry", "start", "-q").stdout.decode() == f"{registry}\n"
    loud = cli("registry", "start")
    assert loud.stdout.decode() == f"{registry}\n" and f"image pull {registry}/IMAGE".encode() in loud.stderr
    found = json.loads(cli.out("registry", "status", "-o", "json"))
    assert (found["state"], found["address"]) == ("running", registry)
    assert [(each["name"], each["reaches"]) for each in found["nodes"]] == [("default", True), ("default-2", True)]
    assert cli.out("registry", "list").splitlines()[1].split() == ["default", registry, "running", "default", "default-2"]
    known = f"/etc/containerd/certs.d/{registry}/hosts.toml"
    cli("ssh", "default-2", "--", "mv", known, "/run/elsewhere")
    looked = cli("registry", "status", code=4).stdout.decode()
    assert "its containerd does not know the registry" in looked
    cli("start")
    assert cli.out("registry", "status", "-o", "name") == f"{registry}\n"


def test_a_registry_that_does_not_answer_is_broken(cli: CommandLine, registry: str) -> None:
    service = "/run/localk8s/service/registry"
    cli("ssh", "default", "--", "sv", "-w", "10", "force-stop", service)
    looked = json.loads(cli("registry", "status", "-o", "json", code=4).stdout)
    assert looked["state"] == "broken" and looked["reason"]
    assert [each["reaches"] for each in looked["nodes"]] == [False, False]
    assert "broken  -" in cli.out("registry", "list")
    cli("registry", "start")
    assert cli.out("registry", "status").startswith("registry  running\n")


def test_every_node_pulls_from_it(cli: CommandLine, registry: str) -> None:
    cli("image", "pull", f"{registry}/library/app:1")
    run_pod(cli, "pulled", f"{registry}/library/app:1", "default-2")


def test_a_dead_mirror_and_one_with_a_wrong_certificate_are_passed_over(
    cli: CommandLine, registry: str, untrusted: str
) -> None:
    configure(cli, {"docker.io": ["http://127.0.0.1:9", untrusted, f"http://{registry}"]})
    cli("image", "pull", "app:1")
    rows = [line.split() for line in cli.out("image", "ls").splitlines()]
    assert [row[-1] for row in rows if row[0] == "docker.io/library/app:1"] == ["all"]
    run_pod(cli, "mirrored", "app:1", "default")


def test_a_mirror_with_a_path_and_a_prefix(cli: CommandLine, registry: str) -> None:
    configure(cli, {"nowhere.example": [f"http://{registry}/google"], "other.example/deep": [f"http://{registry}/google"]})
    cli("image", "pull", "nowhere.example/app:1", "other.example/deep/app:1")
    names = cli.out("image", "ls", "-o", "name").split()
    assert {"nowhere.example/app:1", "other.example/deep/app:1"} <= set(names)
    assert f"{registry}/google/app:1" not in names
    assert cli("ssh", "default-2", "--", "ls", "/etc/containerd/certs.d").stdout.split() == [
        registry.encode(),
        b"docker.io",
        b"nowhere.example",
    ]
    configure(cli, {})
    cli("image", "pull", "nowhere.example/app:1", code=6)


def test_a_start_tells_the_nodes_of_mirrors(cli: CommandLine, registry: str) -> None:
    configure(cli, {"told.example": [f"http://{registry}/google"]})
    cli("start")
    assert registry in cli.out("ssh", "default-2", "--", "cat", "/etc/containerd/certs.d/told.example/hosts.toml")
    configure(cli, {})


def test_stopping_the_registry_twice_leaves_nothing_of_it(cli: CommandLine, registry: str) -> None:
    for _ in range(2):
        cli("registry", "stop")
    cli("kubectl", "get", "configmap", "-n", "kube-public", "local-registry-hosting", code=1)
    with pytest.raises(OSError):
        urllib.request.urlopen(f"http://{registry}/v2/", timeout=2)
    assert registry not in cli.out("ssh", "default-2", "--", "ls", "/etc/containerd/certs.d")
    assert json.loads(cli("registry", "status", "-o", "json", code=4).stdout)["state"] == "stopped"
    assert "stopped  -" in cli.out("registry", "list")


def test_a_directory_of_this_host_is_one_of_the_nodes_until_it_is_removed(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "hello").write_text("from here")
    cli("mount", f"{tmp_path}:/srv/work")
    for node in ("default", "default-2"):
        assert cli.out("ssh", node, "--", "cat", "/srv/work/hello") == "from here"
    cli("ssh", "default-2", "--", "sh", "-c", "echo back >/srv/work/answer")
    assert (tmp_path / "answer").read_text() == "back\n"
    cli("mount", f"{tmp_path}:/srv/work")  # twice is once
    assert cli.out("mount", "--list", "-o", "name").split() == ["default:/srv/work", "default-2:/srv/work"]
    assert str(tmp_path) in cli.out("mount")
    assert b"Something is mounted at /srv/work" in cli("mount", "/tmp:/srv/work", code=4).stderr
    cli("mount", "--remove", "/srv/work")
    assert cli.out("mount", "--list", "-o", "name").split() == []
    assert b"Nothing is mounted at /srv/work" in cli("mount", "--remove", "/srv/work", code=3).stderr
    cli("ssh", "default", "--", "test", "-e", "/srv/work/hello", code=1)
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


@pytest.mark.parametrize(("pair", "code"), [("/nowhere:/srv/x", 3), ("/tmp:relative", 2), ("/tmp:/etc", 2), ("/tmp", 2)])
def test_mounts_that_cannot_be(cli: CommandLine, pair: str, code: int) -> None:
    assert b"hint" in cli("mount", pair, code=code).stderr or code == 3
