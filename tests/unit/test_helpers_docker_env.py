"""docker-env's output for shells that cannot run here; layers put together as docker took them apart."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from localk8s.helpers.docker_env import docker_service, follow_service, hosts_file
from localk8s.helpers.docker_env_shell import ACTIVE, Shell, assignments, detect_shell, parse_shell, removals
from localk8s.helpers.docker_env_sync import DockerStore, full_name
from localk8s.helpers.images_names import full_name as named_fully
from localk8s.model.errors import UsageError
from localk8s.testing import FakeNode


def test_powershell_and_cmd() -> None:
    wanted, mine = {"A": "it's"}, {"A": '100% & "mine"'}
    assert assignments(Shell.POWERSHELL, "c", wanted, mine).splitlines() == [
        "$Env:LOCALK8S_EXISTING_A = $Env:A",
        "$Env:LOCALK8S_ACTIVE_DOCKER = 'c'",
        "$Env:LOCALK8S_DOCKER_VARIABLES = 'A'",
        "$Env:A = 'it''s'",
    ]
    now = {"LOCALK8S_EXISTING_A": "mine", ACTIVE: "c", "LOCALK8S_DOCKER_VARIABLES": "A"}
    assert removals(Shell.POWERSHELL, now).splitlines()[0] == "$Env:A = $Env:LOCALK8S_EXISTING_A"
    assert removals(Shell.CMD, now).splitlines() == [
        'SET "A=mine"', 'SET "LOCALK8S_EXISTING_A="', 'SET "LOCALK8S_ACTIVE_DOCKER="', 'SET "LOCALK8S_DOCKER_VARIABLES="',
    ]  # fmt: skip
    assert assignments(Shell.CMD, "c", {"A": r"C:\a & b"}, {}).splitlines()[-1] == r'SET "A=C:\a & b"'
    assert assignments(Shell.NONE, "c", {"A": "1"}, {}) == "A=1\n"
    for shell, value in ((Shell.CMD, "%PATH%"), (Shell.CMD, 'a"b'), (Shell.NONE, "a\nb")):
        with pytest.raises(UsageError):
            assignments(shell, "c", {"A": value}, {})
    with pytest.raises(UsageError):
        assignments(Shell.CMD, "c", wanted, mine)  # what it could not bring back is not taken away


def test_names_from_the_environment_are_not_evaluated() -> None:
    hostile = {ACTIVE: "c", "LOCALK8S_DOCKER_VARIABLES": "A;id,$(id),DOCKER_HOST,B", "DOCKER_HOST": "x", "B": "y"}
    assert removals(Shell.SH, hostile).splitlines()[:2] == ["unset DOCKER_HOST;", "unset B;"]


def test_which_shell() -> None:
    assert detect_shell("/usr/bin/fish") is Shell.FISH
    assert detect_shell("/bin/dash") is Shell.SH
    assert detect_shell("/opt/elvish") is Shell.BASH
    assert detect_shell(None) is Shell.BASH
    with pytest.raises(UsageError):
        parse_shell("elvish")


def test_docker_listens_behind_tls_alone_and_leaves_the_rules_of_the_node() -> None:
    argv = docker_service("192.0.2.7").argv
    assert "--tlsverify" in argv and "tcp://192.0.2.7:2376" in argv and "--iptables=false" in argv
    assert not [each for each in argv if each.startswith("tcp://") and "192.0.2.7" not in each]
    server = FakeNode("one", address="192.0.2.7")
    assert "https://192.0.2.7:2378" in hosts_file(server)
    followed = [follow_service(FakeNode(name), "python3", ("ctr", "-n", "k8s.io"), "amd64") for name in ("one", "two")]
    assert followed[0].name != followed[1].name and followed[0].argv[-1].endswith("/one/client")


@pytest.mark.parametrize("tag", ["app:1", "me/app:2", "reg:5000/a:1", "localhost/a:1", "k8s.gcr.io/pause:3.2"])
def test_the_node_s_names_are_those_of_the_host(tag: str) -> None:
    assert full_name(tag) == named_fully(tag)


def test_a_layer_is_put_together_as_it_was(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in (("bin/a", b"a" * 3000), ("empty", b""), ("b", b"b")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    whole = buffer.getvalue()
    digest = f"sha256:{hashlib.sha256(whole).hexdigest()}"
    place = tmp_path / "image/overlay2/layerdb/sha256" / digest[7:]
    place.mkdir(parents=True)
    (place / "cache-id").write_text("cache")
    (tmp_path / "overlay2/cache/diff/bin").mkdir(parents=True)
    (tmp_path / "overlay2/cache/diff/bin/a").write_bytes(b"a" * 3000)
    (tmp_path / "overlay2/cache/diff/b").write_bytes(b"b")
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        members = tar.getmembers()
    entries, at = [], 0
    for member in members:
        entries.append({"type": 2, "payload": base64.b64encode(whole[at : member.offset_data]).decode()})
        entries.append({"type": 1, "name": member.name, "size": member.size, "payload": "AAAA"})
        at = member.offset_data + member.size
    entries.append({"type": 2, "payload": base64.b64encode(whole[at:]).decode()})
    with gzip.open(place / "tar-split.json.gz", "wt") as file:
        file.write("".join(f"{json.dumps(entry)}\n" for entry in entries))
    config = json.dumps({"rootfs": {"diff_ids": [digest]}}).encode()
    identity = f"sha256:{hashlib.sha256(config).hexdigest()}"
    content = tmp_path / "image/overlay2/imagedb/content/sha256"
    content.mkdir(parents=True)
    (content / identity[7:]).write_bytes(config)

    store = DockerStore(tmp_path)
    manifest = json.loads(store.manifest(identity))
    assert manifest["layers"][0]["digest"] == digest
    assert manifest["layers"][0]["size"] == len(whole)
    assert b"".join(store.layer(digest)) == whole
    with pytest.raises(KeyError):
        store.config("sha256:../../../etc/passwd")
