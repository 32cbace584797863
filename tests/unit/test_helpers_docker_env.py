"""docker-env's output, evaluated by the real shells; layers put together as docker took them apart."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from localk8s.helpers.docker_env import VARIABLES, docker_service, follow_service, hosts_file
from localk8s.helpers.docker_env_shell import ACTIVE, DIALECTS, KEPT, Shell, assignments, detect_shell, parse_shell, removals
from localk8s.helpers.docker_env_sync import DockerStore, full_name
from localk8s.helpers.images_names import full_name as named_fully
from localk8s.model.errors import UsageError

PROGRAMS = {Shell.BASH: "bash", Shell.ZSH: "zsh", Shell.SH: "dash", Shell.FISH: "fish", Shell.TCSH: "tcsh"}
BATCH = 60
VALUES = st.lists(
    st.one_of(
        st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=30),
        st.text(" '\"\\$`!#&|;<>()[]{}*?~%^=\t\né", max_size=20),
    ),
    min_size=BATCH,
    max_size=BATCH,
)


def evaluated(shell: Shell, text: str, count: int, directory: Path) -> list[str]:
    """The values of V0, V1, … after the real shell has evaluated ``text``."""
    file = directory / "script"
    quiet = {Shell.TCSH: "-f", Shell.ZSH: "-f", Shell.FISH: "--no-config"}.get(shell, "")
    file.write_text(f"{text}\nenv -0\n")
    argv = [PROGRAMS[shell], *([quiet] if quiet else []), str(file)]
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "HOME": str(directory)}
    done = subprocess.run(argv, env=environment, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found = dict(entry.split("=", 1) for entry in done.stdout.decode().split("\0") if "=" in entry)
    return [found[f"V{number}"] for number in range(count)]


@pytest.mark.parametrize("shell", PROGRAMS)
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=VALUES)
@example(values=["=0", "a:=ls", "=", *[""] * (BATCH - 3)])
def test_every_value_survives_the_real_shell(shell: Shell, tmp_path: Path, values: list[str]) -> None:
    if shutil.which(PROGRAMS[shell]) is None:
        pytest.skip(f"{PROGRAMS[shell]} is not installed")
    wanted = {f"V{number}": value for number, value in enumerate(values)}
    assert evaluated(shell, assignments(shell, "default", wanted, {}), len(values), tmp_path) == values


@pytest.mark.parametrize("shell", [Shell.BASH, Shell.ZSH, Shell.SH, Shell.FISH, Shell.TCSH])
def test_restoring_gives_back_what_was_there(shell: Shell) -> None:
    wanted = {"DOCKER_HOST": "tcp://192.0.2.1:2376", "DOCKER_TLS_VERIFY": "1"}
    before = {"DOCKER_HOST": "unix:///mine"}
    dialect = DIALECTS[shell]
    set_ = assignments(shell, "default", wanted, before)
    assert dialect.assign(f"{KEPT}DOCKER_HOST", "unix:///mine") in set_
    now = {**wanted, f"{KEPT}DOCKER_HOST": "unix:///mine", ACTIVE: "default"}
    assert KEPT not in assignments(shell, "default", wanted, now)  # a second time must not keep our own
    back = removals(shell, VARIABLES, now).splitlines()
    assert back == [
        dialect.assign("DOCKER_HOST", "unix:///mine"),
        dialect.remove(f"{KEPT}DOCKER_HOST"),
        dialect.remove("DOCKER_TLS_VERIFY"),
        dialect.remove(ACTIVE),
    ]
    assert removals(shell, VARIABLES, before) == ""


def test_powershell_and_cmd() -> None:
    assert assignments(Shell.POWERSHELL, "c", {"A": "it's"}, {ACTIVE: "c"}).splitlines()[1] == "$Env:A = 'it''s'"
    assert assignments(Shell.CMD, "c", {"A": r"C:\a & b"}, {ACTIVE: "c"}).splitlines()[1] == r'SET "A=C:\a & b"'
    assert assignments(Shell.NONE, "c", {"A": "1"}, {}) == "A=1\n"
    for shell, value in ((Shell.CMD, "%PATH%"), (Shell.CMD, 'a"b'), (Shell.NONE, "a\nb")):
        with pytest.raises(UsageError):
            assignments(shell, "c", {"A": value}, {})


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
    assert "https://192.0.2.7:2378" in hosts_file("192.0.2.7")
    assert follow_service("192.0.2.7", "python3", ("ctr", "-n", "k8s.io"), "amd64").argv[-1].endswith("/client")


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
