"""What must never change unnoticed: who is let in, who may read keys, what of the host is touched, what is verified.

Mutants that survived an examination are held here (tests/mutants.toml).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
from cli_door import Door
from test_helpers_images import docker_archive, layer
from test_native_plan import FACTS

from localk8s.artifacts import web
from localk8s.drivers.base import DriverContext
from localk8s.drivers.bridge_rules import BridgeRules
from localk8s.drivers.native import checks as native_checks
from localk8s.helpers import dashboard, docker_env, docker_env_sync
from localk8s.helpers import images as images_module
from localk8s.helpers.docker_env_certificates import ensure_certificates
from localk8s.helpers.images import Images
from localk8s.helpers.images_archive import open_archive
from localk8s.helpers.images_store import NodeStore, StoredImage
from localk8s.kubeadm import phases
from localk8s.kubeadm.parameters import KubeadmParameters
from localk8s.model.errors import ArtifactError, CommandError, UsageError, WaitTimeoutError
from localk8s.model.node import Completed, Node
from localk8s.model.progress import Reporter, SilentReporter
from localk8s.model.quantities import GIB
from localk8s.model.spec import ClusterSpec
from localk8s.model.status import Severity
from localk8s.store.layout import Layout, Roots
from localk8s.store.records import CorruptRecordError, Record, Records
from localk8s.system.files import write_atomic
from localk8s.system.host import Host
from localk8s.system.process import HostRunner
from localk8s.testing.driver import FakeDriver


class RecordingNode:
    """A node that keeps what is run and written, with the modes."""

    name = "n"
    address = "192.0.2.10"

    def __init__(self, answers: Mapping[str, str] | None = None) -> None:
        self.modes: dict[str, int] = {}
        self.commands: list[tuple[str, ...]] = []
        self._answers = answers or {}

    def run(self, argv: Sequence[str], **_: object) -> Completed:
        self.commands.append(tuple(argv))
        return Completed(tuple(argv), 0, self._answers.get(argv[0], ""), "")

    def write(self, target: str, content: str | bytes, *, mode: int = 0o644) -> None:
        self.modes[target] = mode

    def copy_in(self, source: Path, target: str, *, mode: int = 0o644) -> None:
        self.modes[target] = mode

    def copy_out(self, source: str, target: Path) -> None:
        target.write_text(
            "kubeadm join 192.0.2.1:6443 --token abcdef.0123456789abcdef --discovery-token-ca-cert-hash sha256:" + "0" * 64
        )


def as_node(node: RecordingNode) -> Node:
    return cast(Node, node)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    ensure_certificates(HostRunner(), directory, "127.0.0.1", "localhost")
    return directory


class TestWhoIsLetIn:
    def test_the_dashboard_listens_on_loopback(self) -> None:
        with contextlib.closing(dashboard._listen(0)) as listening:
            assert listening.getsockname()[0] == "127.0.0.1"

    @pytest.mark.parametrize(("client", "served"), [(True, True), (False, False)], ids=["with", "without"])
    def test_docker_s_images_take_a_client_certificate(
        self, certificates: Path, tmp_path: Path, client: bool, served: bool
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        argv = [sys.executable, docker_env_sync.__file__, "serve", "--socket", str(tmp_path / "none"), "--root", str(tmp_path)]
        argv += ["--listen", f"127.0.0.1:{port}", "--certificates", str(certificates / "server")]
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            try:
                assert self._answers(port, certificates / "client", client=client) is served
            finally:
                server.kill()

    @staticmethod
    def _answers(port: int, keys: Path, *, client: bool) -> bool:
        context = ssl.create_default_context(cafile=str(keys / "ca.pem"))
        if client:
            context.load_cert_chain(keys / "cert.pem", keys / "key.pem")
        deadline = time.monotonic() + 60
        while True:
            try:
                plain = socket.create_connection(("127.0.0.1", port), timeout=20)
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        try:
            with plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
                connection.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                return connection.recv(100).startswith(b"HTTP/1.")
        except (ssl.SSLError, ConnectionError):
            return False


class TestWhoMayReadKeys:
    @pytest.fixture
    def parameters(self) -> KubeadmParameters:
        from test_kubeadm_rendering import parameters

        return parameters("1.20.2")

    def test_docker_s_keys_on_a_node(self, tmp_path: Path) -> None:
        node = RecordingNode()
        docker_env._put_certificates(as_node(node), tmp_path, "server")
        assert set(node.modes.values()) == {0o600}

    def test_credentials_and_tokens_of_a_node(self, parameters: KubeadmParameters) -> None:
        node = RecordingNode()
        ticket = phases.make_ticket(as_node(node), parameters)
        phases.prepare_join(as_node(node), parameters, ticket)
        phases.write_init_config(as_node(node), parameters)
        phases.give_proxy_credentials(as_node(node), parameters, "key")
        secret = {path: mode for path, mode in node.modes.items() if path != phases.PROXY_CONFIG}
        assert len(secret) == 3 and set(secret.values()) == {0o600}, node.modes

    def test_a_kubeconfig_that_a_node_writes_itself(self) -> None:
        node = RecordingNode()
        phases.write_user_kubeconfig(as_node(node), "u", "/x")
        assert node.commands[-1][-1].startswith("umask 077; ")

    def test_a_join_token_lives_for_an_hour(self, parameters: KubeadmParameters) -> None:
        node = RecordingNode()
        phases.make_ticket(as_node(node), parameters)
        (script,) = [" ".join(argv) for argv in node.commands if "token create" in " ".join(argv)]
        assert "--ttl 1h" in script

    def test_files_are_the_user_s_alone_unless_said_otherwise(self, tmp_path: Path) -> None:
        write_atomic(tmp_path / "secret", "x")
        write_atomic(tmp_path / "public", "x", mode=0o644)
        assert (os.stat(tmp_path / "secret").st_mode & 0o777, os.stat(tmp_path / "public").st_mode & 0o777) == (0o600, 0o644)

    def test_who_reads_a_file_while_it_is_replaced_has_the_whole_old_one(self, tmp_path: Path) -> None:
        write_atomic(tmp_path / "f", "old")
        with (tmp_path / "f").open() as reading:
            write_atomic(tmp_path / "f", "new, and longer")
            assert reading.read() == "old"
        assert (tmp_path / "f").read_text() == "new, and longer"


class TestWhatOfTheHostIsTouched:
    def test_only_what_the_machines_send_out_gets_another_sender(self) -> None:
        rules = BridgeRules("l8s-1", IPv4Network("10.83.0.0/24")).rules(uplink=True).splitlines()
        changing = [rule for rule in rules if "MASQUERADE" in rule or "SNAT" in rule]
        assert changing == ["-A LOCALK8S-l8s-1 -s 10.83.0.0/24 ! -o l8s-1 -j MASQUERADE"]
        assert all("l8s-1" in rule for rule in rules if rule.startswith(("-", ":")))

    def test_the_script_of_a_node_leaves_addresses_inside_the_cluster_alone(self) -> None:
        lines = (Path(native_checks.__file__).parent / "node-boot.sh").read_text().splitlines()
        chain = [line for line in lines if line.startswith("-A LOCALK8S")]
        last = next(number for number, line in enumerate(chain) if line.endswith("MASQUERADE"))
        assert [line.split()[2:] for line in chain[:last]] == [
            ["-d", "$POD_RANGE", "-j", "RETURN"],
            ["-d", "$NODE_RANGE", "-j", "RETURN"],
        ]
        assert [line for line in lines if line.startswith("-A POSTROUTING")] == ["-A POSTROUTING -s $POD_RANGE -j LOCALK8S"]

    def test_a_disk_that_is_full_already_is_an_error(self, tmp_path: Path) -> None:
        class FullHost(Host):
            def facts(self) -> Any:
                return replace(FACTS, disk_free=GIB)

        roots = Roots(tmp_path, tmp_path, tmp_path, tmp_path)
        context = DriverContext(tmp_path, HostRunner(), cast(Any, None), FullHost(tmp_path), Layout(roots), {})
        found = native_checks.check(ClusterSpec("c", "native"), context)
        assert [finding.subject for finding in found if finding.severity is Severity.ERROR and "disk" in finding.subject]


class TestRecords:
    @pytest.fixture
    def layout(self, tmp_path: Path) -> Layout:
        return Layout(Roots(tmp_path, tmp_path, tmp_path, tmp_path))

    def test_a_record_of_another_name_is_none(self, layout: Layout) -> None:
        records = Records(layout)
        records.save(Record(ClusterSpec("one", "native"), created=True))
        layout.record("two").parent.mkdir(parents=True)
        layout.record("two").write_bytes(layout.record("one").read_bytes())
        with pytest.raises(CorruptRecordError) as caught:
            records.load("two")
        assert "'one'" in caught.value.details
        assert records.load("one").spec.name == "one"

    def test_a_record_of_another_format_is_none(self, layout: Layout) -> None:
        records = Records(layout)
        records.save(Record(ClusterSpec("one", "native"), created=True))
        path = layout.record("one")
        path.write_text(path.read_text().replace('"format": ', '"format": 9'))
        with pytest.raises(CorruptRecordError):
            records.load("one")


class FakeStore:
    """Stands for a node's image store: takes everything, and is asked afterwards."""

    stores: list[FakeStore]
    refuses = ""

    def __init__(self, node: Node, ctr: Sequence[str], **_: object) -> None:
        self.node = node
        self.received = 0
        self.checked: list[tuple[str, str, str]] = []
        FakeStore.stores.append(self)

    def digests(self) -> tuple[str, ...]:
        return ()

    def receive(self, pieces: Any) -> None:
        self.received += sum(len(piece) for piece in pieces)

    def check(self, name: str, digest: str, identity: str) -> None:
        self.checked.append((name, digest, identity))
        if self.node.name == FakeStore.refuses:
            raise CommandError(["ctr"], 1, message=f"{self.node.name} lacks {name}")


class TestImagesOnNodes:
    @pytest.fixture
    def loaded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Images, Any]:
        monkeypatch.setattr(FakeStore, "stores", [], raising=False)
        monkeypatch.setattr(images_module, "NodeStore", FakeStore)
        archive = open_archive(docker_archive(tmp_path / "a.tar", [layer(b"one")], ["app:1", "app:2"]), "amd64")
        nodes = [RecordingNode(), RecordingNode()]
        nodes[1].name = "n-2"
        return Images([as_node(node) for node in nodes], ["ctr"], "amd64", SilentReporter()), archive

    def test_every_node_is_asked_for_every_name(self, loaded: tuple[Images, Any]) -> None:
        images, archive = loaded
        images.load(archive)
        (image,) = archive.images
        assert [store.node.name for store in FakeStore.stores] == ["n", "n-2"]
        for store in FakeStore.stores:
            assert store.received > 0
            assert store.checked == [(name, image.manifest.digest, image.id) for name in image.names]

    def test_a_node_that_lacks_it_afterwards_is_an_error(
        self, loaded: tuple[Images, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(FakeStore, "refuses", "n-2")
        with pytest.raises(CommandError, match="n-2 lacks"):
            loaded[0].load(loaded[1])

    def test_a_damaged_layer_goes_to_no_node(self, loaded: tuple[Images, Any]) -> None:
        images, archive = loaded
        content = archive.path.read_bytes()
        archive.path.write_bytes(content.replace(b"one", b"two"))
        with pytest.raises(UsageError, match="not what its digest says"):
            images.load(archive)
        assert [store.received for store in FakeStore.stores] == [0, 0]

    @pytest.mark.parametrize(
        ("images", "right"),
        [
            ([("app", "sha256:1"), ("sha256:id", "sha256:1")], True),
            ([("app", "sha256:2"), ("sha256:id", "sha256:1")], False),
            ([("app", "sha256:1")], False),
            ([], False),
        ],
        ids=["there", "an older one", "unknown to the kubelet", "missing"],
    )
    def test_a_name_has_to_lead_to_the_image(
        self, images: list[tuple[str, str]], right: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = NodeStore(as_node(RecordingNode()), ["ctr"])
        found = tuple(StoredImage(name, digest, "1 MiB") for name, digest in images)
        monkeypatch.setattr(store, "images", lambda: found)
        monkeypatch.setattr("localk8s.helpers.images_store._KNOWN", 0.0)
        if right:
            store.check("app", "sha256:1", "sha256:id")
        else:
            with pytest.raises(WaitTimeoutError):
                store.check("app", "sha256:1", "sha256:id")


class Mirror(BaseHTTPRequestHandler):
    """Serves ``CONTENT`` at /whole, and half of it, with the length of all, at /cut; counts the requests."""

    CONTENT = b"program" * 1000
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        Mirror.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.CONTENT)))
        self.end_headers()
        self.wfile.write(self.CONTENT if self.path == "/whole" else self.CONTENT[: len(self.CONTENT) // 2])

    def log_message(self, format: str, *args: Any) -> None:
        pass


class TestDownloads:
    @pytest.fixture
    def mirror(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
        monkeypatch.setattr(Mirror, "asked", [])
        with ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            yield f"http://127.0.0.1:{server.server_address[1]}"
            server.shutdown()
            thread.join()

    def test_what_is_whole_and_right_is_there(self, mirror: str, tmp_path: Path) -> None:
        web.download(f"{mirror}/whole", tmp_path / "f", hashlib.sha256(Mirror.CONTENT).hexdigest(), lambda done: None)
        assert (tmp_path / "f").read_bytes() == Mirror.CONTENT

    def test_another_digest_leaves_nothing(self, mirror: str, tmp_path: Path) -> None:
        with pytest.raises(ArtifactError, match="not what its digest says"):
            web.download(f"{mirror}/whole", tmp_path / "f", "0" * 64, lambda done: None)
        assert list(tmp_path.iterdir()) == []

    def test_half_a_file_is_asked_for_again_and_leaves_nothing(self, mirror: str, tmp_path: Path) -> None:
        half = hashlib.sha256(Mirror.CONTENT[: len(Mirror.CONTENT) // 2]).hexdigest()
        with pytest.raises(ArtifactError, match="could not be downloaded"):
            web.download(f"{mirror}/cut", tmp_path / "f", half, lambda done: None)
        assert list(tmp_path.iterdir()) == [] and len(Mirror.asked) > 1


def test_a_cluster_is_recorded_before_anything_of_it_is_made(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    make, seen = FakeDriver.create, []

    def looking(driver: FakeDriver, spec: ClusterSpec, report: Reporter) -> None:
        seen.extend(name for name in door.files if name.endswith("cluster.json"))
        make(driver, spec, report)

    monkeypatch.setattr(FakeDriver, "create", looking)
    assert door("start").code == 0
    assert len(seen) == 1, "delete would not find what a kill left"
