"""Archives without a daemon: the same bytes each time, what a runtime expects in them; and what ELF files need."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localk8s.artifacts.archive import Contents, RunConfig, is_made_here, read_tags, write_image
from localk8s.artifacts.debian import settle
from localk8s.artifacts.elf import MACHINES, library_closure, read_elf
from localk8s.artifacts.images import own_scripts
from localk8s.model.errors import ArtifactError
from localk8s.system.archives import unpack

REFERENCE = "localk8s.dev/test:1"


def contents(root: Path) -> Contents:
    root.mkdir(exist_ok=True)
    (root / "program").write_text("#!/bin/sh\n")
    (root / "program").chmod(0o700)
    (root / "tree/deep").mkdir(parents=True, exist_ok=True)
    (root / "tree/deep/data").write_text("data")
    return Contents(
        files={"/usr/bin/program": root / "program", "/usr/share/tree": root / "tree"},
        texts={"/etc/hello": ("hello\n", 0o640)},
        links={"/bin": "usr/bin"},
        directories={"/tmp": 0o1777},
    )


def write(target: Path, root: Path) -> bytes:
    run = RunConfig(("/usr/bin/program",), ("a",), ("X=1",), "1:2", "/tmp", (80,))
    write_image(target, REFERENCE, "arm64", contents(root), run)
    return target.read_bytes()


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    assert write(tmp_path / "a.tar", tmp_path / "one") == write(tmp_path / "b.tar", tmp_path / "two")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "b.tar", "one", "two"]


def test_the_archive_is_what_a_runtime_expects(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", tmp_path / "root")
    assert read_tags(tmp_path / "a.tar") == (REFERENCE,)
    assert is_made_here(tmp_path / "a.tar"), "it can be told from an image that only bears the same name"
    unpack(tmp_path / "a.tar", tmp_path / "out")
    (image,) = json.loads((tmp_path / "out/manifest.json").read_text())
    config_bytes = (tmp_path / "out" / image["Config"]).read_bytes()
    config = json.loads(config_bytes)
    (layer,) = image["Layers"]
    assert image["Config"] == f"{hashlib.sha256(config_bytes).hexdigest()}.json"
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256((tmp_path / 'out' / layer).read_bytes()).hexdigest()}"]
    assert (config["os"], config["architecture"]) == ("linux", "arm64")
    assert config["config"] == {
        "Cmd": ["a"],
        "Entrypoint": ["/usr/bin/program"],
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "X=1"],
        "ExposedPorts": {"80/tcp": {}},
        "User": "1:2",
        "WorkingDir": "/tmp",
    }
    with tarfile.open(tmp_path / "out" / layer) as opened:
        members = {member.name: member for member in opened}
    assert {name: oct(member.mode) for name, member in members.items() if member.isfile()} == {
        "etc/hello": "0o640",
        "usr/bin/program": "0o755",
        "usr/share/tree/deep/data": "0o644",
    }
    assert members["tmp"].mode == 0o1777
    assert members["bin"].linkname == "usr/bin"
    assert list(members) == sorted(members), "a directory comes before what is in it"
    assert {"usr", "usr/bin", "usr/share/tree/deep"} <= {name for name, member in members.items() if member.isdir()}
    assert {(member.uid, member.gid, member.mtime) for member in members.values()} == {(0, 0, 0)}


@given(st.binary(max_size=300))
def test_any_file_has_tags_or_none(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "junk.tar"
    path.write_bytes(data)
    assert read_tags(path) == () and not is_made_here(path)


@pytest.mark.parametrize("listing", ["[", "{}", "[1]", '[{"RepoTags": null}]', "null"])
def test_a_strange_manifest_has_no_tags(tmp_path: Path, listing: str) -> None:
    (tmp_path / "manifest.json").write_text(listing)
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(tmp_path / "manifest.json", "manifest.json")
    assert read_tags(tmp_path / "x.tar") == ()


def linked(program: str) -> set[str]:
    """What the real loader says that ``program`` uses."""
    out = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return {line.split()[0].rpartition("/")[2] for line in out.splitlines() if "=>" in line or "ld-linux" in line}


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("ldd"), reason="needs Linux programs and ldd")
def test_the_closure_is_what_the_loader_finds() -> None:
    program = Path(shutil.which("bash") or "/bin/sh").resolve()
    triplet = next(Path("/usr/lib").glob("*-linux-gnu")).name
    found = library_closure([program], [Path("/")], triplet)
    assert {Path(name).name for name in found} == linked(str(program))
    info = read_elf(program)
    assert info is not None
    assert info.interpreter in found
    assert info.machine in MACHINES.values()


def test_a_library_that_is_nowhere_is_named(tmp_path: Path) -> None:
    program = Path(shutil.which("bash") or "/bin/sh").resolve()
    with pytest.raises(ArtifactError, match=r"needs the library lib.*none of the Debian packages"):
        library_closure([program], [tmp_path], "x86_64-linux-gnu")


def test_a_script_needs_nothing(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n")
    assert read_elf(tmp_path / "script") is None
    assert library_closure([tmp_path / "script"], [], "x") == {}


@given(st.binary(max_size=200), st.integers(0, 2**16 - 1))
def test_any_elf_header_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, rest: bytes, count: int) -> None:
    head = bytearray(64)
    head[:6] = b"\x7fELF\x02\x01"
    struct.pack_into("<Q", head, 32, 64)
    struct.pack_into("<HH", head, 54, 56, count)
    path = tmp_path_factory.getbasetemp() / "program"
    path.write_bytes(bytes(head) + rest)
    try:
        assert read_elf(path) is not None
    except ArtifactError as exc:
        assert str(path) in exc.message


def test_an_unpacked_root_is_settled_like_an_installed_one(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("bin/busybox", "lib/x/libc.so.6", "usr/lib/x/libz.so", "usr/bin/ip"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "lib64").mkdir()
    (root / "lib64/ld.so").symlink_to("/lib/x/libc.so.6")
    (root / "usr/sbin").mkdir()
    (root / "usr/sbin/ip").symlink_to("/bin/ip")
    settle(root)
    assert (root / "bin").readlink() == Path("usr/bin")
    assert (root / "usr/bin/busybox").read_text() == "bin/busybox"
    assert (root / "lib/x/libz.so").read_text() == "usr/lib/x/libz.so"
    assert (root / "lib64/ld.so").read_text() == "lib/x/libc.so.6"
    assert (root / "sbin/ip").read_text() == "usr/bin/ip"
    assert not [link for link in root.rglob("*") if link.is_symlink() and link.readlink().is_absolute()]


def test_the_scripts_of_the_images_are_in_the_package() -> None:
    data, feeders = own_scripts()
    assert {path.name for path in data.iterdir()} == {"echo-server.sh", "echo-handler.sh", "echo.awk"}
    assert {"localk8s/__init__.py", "localk8s/kube/dns_feed.py", "localk8s/kube/rest.py"} <= set(feeders)
