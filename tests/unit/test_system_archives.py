"""Archives made to do harm, by hand and at random: nothing outside the directory they are unpacked to changes."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import random
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from localk8s.system import archives
from localk8s.system.archives import BUNDLE, COPY, PACKAGE, LeftOut, Rules, leads_inside, unpack
from localk8s.system.tar_reader import ArchiveError, TarReader, list_members, read_member

FILE, DIRECTORY, LINK, HARD, FIFO = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE


def item(
    name: str, kind: bytes = FILE, target: str = "", data: bytes = b"", *, mode: int = 0o644, size: int | None = None
) -> bytes:
    """One member as it lies in an archive, whatever its name and size claim."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.size = kind, target, mode, len(data) if size is None else size
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape") + data + bytes(-len(data) % 512)


def write(path: Path, *items: bytes) -> Path:
    path.write_bytes(b"".join(items) + bytes(1024))
    return path


def pax(**records: str) -> bytes:
    text = b""
    for key, value in records.items():
        rest = f" {key}={value}\n".encode()
        length = next(number for number in range(len(rest), len(rest) + 9) if len(str(number)) + len(rest) == number)
        text += str(length).encode() + rest
    return item("x", tarfile.XHDTYPE, data=text)


@pytest.fixture
def world() -> Iterator[Path]:
    """A directory with something in it that must not change; in memory, for there are thousands of tries."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as directory:
        place = Path(directory)
        (place / "outside/deep").mkdir(parents=True)
        (place / "outside/secret").write_text("secret")
        (place / "outside/secret").chmod(0o600)
        yield place


def seen(root: Path, *, but: Path) -> list[tuple[object, ...]]:
    """All that can be told about what is below ``root``, without what is in ``but``."""
    found: list[tuple[object, ...]] = []
    for directory, folders, files in os.walk(root):
        folders[:] = [name for name in folders if Path(directory) / name != but]
        for path in [Path(directory), *(Path(directory) / name for name in files)]:
            state = path.lstat()
            content = path.read_bytes() if stat.S_ISREG(state.st_mode) else b""
            changing = () if path == root else (state.st_mtime_ns, state.st_nlink)  # ``but`` is in it
            found.append((str(path), state.st_mode, state.st_ino, state.st_uid, content, *changing))
    return sorted(found, key=str)


def try_it(world: Path, archive: Path, rules: Rules) -> str:
    """Unpack; assert that nothing outside changed, and that no link leads there. Returns the error."""
    target = world / "target"
    before = seen(world, but=target)
    said = ""
    try:
        unpack(archive, target, rules)
    except ArchiveError as exc:
        said = str(exc)
        assert said.isprintable() and "\n" not in said and len(said) < 400
    after = seen(world, but=target)
    assert before == after
    if target.is_dir() and rules.links is archives.Links.INSIDE:
        for path in target.rglob("*"):
            assert Path(os.path.realpath(path)).is_relative_to(os.path.realpath(target)), f"{path} leads outside"
    assert not list(target.rglob(".localk8s-*"))
    return said


LONG = "a" * 200
CHAIN = "/".join([LONG] * 8)
ATTACKS: dict[str, tuple[str, Sequence[bytes]]] = {
    "up": ("leads up", [item("../outside/secret", data=b"evil")]),
    "up inside": ("leads up", [item("a/../../outside/secret", data=b"evil")]),
    "absolute": ("is absolute", [item("/tmp/localk8s-escaped", data=b"evil")]),
    "through a link": ("link that may lead outside", [item("l", LINK, "../outside"), item("l/secret", data=b"evil")]),
    "through an absolute link": ("may lead outside", [item("l", LINK, "/tmp"), item("l/localk8s-escaped", data=b"evil")]),
    "through a link inside": ("through a link", [item("d", DIRECTORY), item("l", LINK, "d"), item("l/x", data=b"x")]),
    "through a link to itself": ("through a link", [item("l", LINK, "l"), item("l/x", data=b"x")]),
    "up through a link (CVE-2025-4330)": ("may lead outside", [item("a/b", DIRECTORY), item("p", LINK, "a/b"),
                                          item("e", LINK, "p/../../outside"), item("e/secret", data=b"evil")]),
    "up through a link to here": ("may lead outside", [item("p", LINK, "."), item("e", LINK, "p/p/p/../../../outside")]),
    "longer than a path (CVE-2025-4517)": ("", [
        *(item("/".join([LONG] * number), DIRECTORY) for number in range(1, 9)),
        *(item("/".join(["b"] * number), LINK, LONG) for number in range(1, 2)),
        item("b/x", LINK, "../" * 8), item(f"{CHAIN}/up", LINK, "../" * 8 + "../outside"),
        item(f"{CHAIN}/up/secret", data=b"evil")]),
    "a name longer than the kernel takes": ("too long", [item("/".join(["d"] * 3000), data=b"x")]),
    "too deep": ("too deep", [item("/".join(["d"] * 500), DIRECTORY)]),
    "a part of a name too long": ("too long", [item("n" * 300, data=b"x")]),
    "hard link outside": ("leads up", [item("h", HARD, "../outside/secret"), item("h", data=b"evil")]),
    "hard link to an absolute name": ("is absolute", [item("h", HARD, "/etc/passwd")]),
    "hard link through a link": ("may lead outside", [item("l", LINK, "../outside"), item("h", HARD, "l/secret")]),
    "hard link that moves a link up (CVE-2025-4138)": ("is not a file", [
        item("a/b/c", LINK, "../../x"), item("h", HARD, "a/b/c"), item("h/secret", data=b"evil")]),
    "hard link to itself": ("is missing", [item("h", HARD, "h")]),
    "hard links in a ring": ("is missing", [item("a", HARD, "b"), item("b", HARD, "a")]),
    "hard link to a directory": ("is not a file", [item("d", DIRECTORY), item("h", HARD, "d")]),
    "a link in place of a directory": ("may lead outside", [
        item("d/e", DIRECTORY), item("d", LINK, "../outside"), item("d/secret", data=b"evil")]),
    "an inner link in place of a directory": ("replace a directory", [item("d", DIRECTORY), item("d", LINK, "e")]),
    "a directory in place of a link": ("through a link", [item("l", LINK, "d"), item("d", DIRECTORY), item("l", DIRECTORY)]),
    "a link in place of the top": ("", [item(".", LINK, "../outside"), item("./secret", data=b"x")]),
    "a link to nothing": ("a link to nothing", [item("l", LINK, "")]),
    "a device": ("is a device", [item("null", tarfile.CHRTYPE)]),
    "a block device": ("is a device", [item("sda", tarfile.BLKTYPE)]),
    "a pipe": ("is a named pipe", [item("p", FIFO)]),
    "a sparse file": ("not supported", [item("s", tarfile.GNUTYPE_SPARSE, data=b"x" * 512)]),
    "a sparse file of pax": ("sparse", [pax(**{"GNU.sparse.major": "1", "GNU.sparse.size": "99"}), item("s", data=b"x")]),
    "an unknown kind": ("not supported", [item("v", b"V")]),
    "a size below zero (CVE-2025-8194)": ("is wrong", [item("a", data=b"x"), item("b", size=-1024)]),
    "an extension header of a size below zero": ("too large", [item("b", tarfile.XHDTYPE, size=-512)]),
    "an extension header without end": ("too large", [item("b", tarfile.XHDTYPE, size=1 << 40)]),
    "a size that lies": ("cut off", [item("a", data=b"x", size=1 << 50)]),
    "a size that pax makes lie": ("cut off", [pax(size=str(1 << 62)), item("a", data=b"x")]),
    "a size that pax writes wrongly": ("no number", [pax(size="-5"), item("a", data=b"x")]),
    "a link with a size": ("is wrong", [item("l", LINK, "x", size=512), item("y", data=b"x")]),
    "pax names": ("leads up", [pax(path="../outside/secret"), item("a", data=b"evil")]),
    "pax link": ("may lead outside", [pax(linkpath="../outside"), item("l", LINK, "x"), item("l/secret", data=b"evil")]),
    "pax names for all": ("one name", [
        pax(path="../outside/secret").replace(b"\x00x\x00", b"\x00g\x00"), item("a", data=b"evil")]),
    "a NUL in a name": ("unusable", [pax(path="a\0b"), item("a", data=b"x")]),
    "damaged pax": ("damaged", [item("x", tarfile.XHDTYPE, data=b"99999 path=x\n"), item("a")]),
    "pax of many digits (CVE-2024-6232)": ("damaged", [item("x", tarfile.XHDTYPE, data=b"1" * 900_000), item("a")]),
    "headers without end": ("too many extension", [pax(comment="x") * 100, item("a")]),
    "control characters": ("leads up", [item("\x1b]0;x\x07\r\n/../" + "y" * 60, data=b"x")]),
    "control characters in a link": ("may lead outside", [item("x", LINK, "/\x1b]0;x\x07\r\n" + "y" * 60)]),
    "no name": ("empty", [item("", data=b"x")]),
}  # fmt: skip


@pytest.mark.parametrize("links", ["inside", "any"])
@pytest.mark.parametrize("name", ATTACKS)
def test_known_attacks(world: Path, name: str, links: str) -> None:
    text, items = ATTACKS[name]
    if name == "pax names for all":
        items = [as_global(items[0]), items[1]]
    said = try_it(world, write(world / "x.tar", *items), replace(BUNDLE, links=archives.Links(links)))
    if links == "inside":
        assert text in said
    assert not Path("/tmp/localk8s-escaped").exists()
    assert (world / "outside/secret").read_text() == "secret"


def as_global(data: bytes) -> bytes:
    """The same extension header, for all members."""
    info = tarfile.TarInfo.frombuf(data[:512], "utf-8", "strict")
    info.type = tarfile.XGLTYPE
    return info.tobuf(tarfile.GNU_FORMAT) + data[512:]


NAMES = ["a", "b", "A", "é", "e\u0301", "a/b", "a/b/c", "l", "l/x", "l/a/b", "./a", "a//b", "h", "s", "in", "in/secret", "..",
         "a/../../x", "../outside/secret", "/tmp/localk8s-escaped", "out", "out/secret", "out/deep/x", ".", "", "n" * 300, LONG,
         f"{LONG}/{LONG}", CHAIN, f"{CHAIN}/x", "\udcff", "a\nb", "b/.localk8s"]  # fmt: skip
TARGETS = ["a", "b", "..", ".", "../outside", "../../outside", "/tmp", "a/..", "a/../..", "l", "l/..", "l/../../outside",
           "../target/../outside", "out", "out/secret", "s", "in", "h", "", "./../outside", "../" * 8 + "outside",
           "a/b/../../..", LONG, CHAIN, "/proc/self/root", "../outside/secret", "in/secret"]  # fmt: skip
KINDS = [FILE] * 5 + [LINK] * 5 + [HARD] * 3 + [DIRECTORY] * 3 + [FIFO, tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE, b"V"]
CONTENTS = [b"", b"evil", b"x" * 700]


def one(chance: random.Random) -> bytes:
    kind = chance.choice(KINDS)
    name = "/".join(chance.choice(NAMES) for _ in range(chance.choice([1, 1, 1, 2])))
    data = chance.choice(CONTENTS) if kind == FILE else b""
    lie = chance.choice([None] * 30 + [-1, 1 << 40, 3])
    extension = pax(**{chance.choice(["path", "linkpath"]): chance.choice(TARGETS)}) if chance.random() < 0.1 else b""
    return extension + item(name, kind, chance.choice(TARGETS), data, mode=chance.randrange(0o10000), size=lie)


def at_random(chance: random.Random) -> bytes:
    data = b"".join(one(chance) for _ in range(chance.randrange(1, 12))) + bytes(1024)
    if chance.random() < 0.1:  # damaged, or cut off
        place = chance.randrange(len(data))
        data = data[:place] + (b"" if chance.random() < 0.5 else bytes([chance.randrange(256)]) + data[place + 1 :])
    return chance.choice([bytes, bytes, bytes, gzip.compress, bz2.compress])(data)


def prepared(world: Path, chance: random.Random) -> None:
    """A target that is missing, or has links that lead outside already."""
    target = world / "target"
    if target.is_dir():
        for path in target.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o700)
        shutil.rmtree(target)
    if chance.random() < 0.3:
        target.mkdir()
        (target / "in").mkdir()
        (target / "in/out").symlink_to("../in")


def test_2000_archives_at_random_change_nothing_outside(world: Path) -> None:
    chance, refused = random.Random(20251127), 0
    for _ in range(2000):
        prepared(world, chance)
        (world / "x.tar").write_bytes(at_random(chance))
        refused += bool(try_it(world, world / "x.tar", chance.choice([BUNDLE, PACKAGE, COPY])))
    assert 600 < refused < 1900  # else it tries nothing, or gets nowhere


def test_the_tries_at_random_would_notice(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_OPEN", os.O_RDONLY)
    chance = random.Random(20251127)
    with pytest.raises((AssertionError, OSError)):
        for _ in range(2000):
            prepared(world, chance)
            (world / "x.tar").write_bytes(at_random(chance))
            try_it(world, world / "x.tar", PACKAGE)


def test_a_link_that_was_there_before_is_not_followed(world: Path) -> None:
    (world / "target").mkdir()
    (world / "target/old").symlink_to("../outside")
    (world / "target/secret").symlink_to("../outside/secret")
    with pytest.raises(ArchiveError, match="through a link"):
        unpack(write(world / "x.tar", item("old/secret", data=b"evil")), world / "target")
    unpack(write(world / "x.tar", item("secret", data=b"new")), world / "target")
    assert (world / "target/secret").read_text() == "new"
    assert (world / "outside/secret").read_text() == "secret"


def test_a_file_with_another_name_outside_is_replaced_not_written_to(world: Path) -> None:
    (world / "target").mkdir()
    os.link(world / "outside/secret", world / "target/x")
    unpack(write(world / "x.tar", item("x", data=b"new", mode=0o777)), world / "target")
    assert (world / "outside/secret").read_text() == "secret"
    assert (world / "outside/secret").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_what_comes_out(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    plain = write(tmp_path / "p.tar", item("./", DIRECTORY, mode=0o700), item("./d", DIRECTORY, mode=0o1555),
                  item("./d/run", data=b"#!/bin/sh\n" * 120_000, mode=0o4777), item("d/l", LINK, "../d/run"),
                  item("implied/x", mode=0o600), item("again", HARD, "d/run"), item("d/run2", HARD, "d/run"),
                  pax(path="ümlaut/" + "n" * 150), item("short"), item("L" * 90 + "/" + "M" * 90))  # fmt: skip
    (tmp_path / "x.tar").write_bytes(compress(plain.read_bytes()))
    out = tmp_path / "out"
    assert unpack(tmp_path / "x.tar", out) == ()
    modes = {str(path.relative_to(out)): oct(path.lstat().st_mode & 0o7777) for path in out.rglob("*") if not path.is_symlink()}
    assert modes == {"d": "0o755", "d/run": "0o755", "d/run2": "0o755", "again": "0o755", "implied": "0o755",
                     "implied/x": "0o600", "ümlaut": "0o755", "ümlaut/" + "n" * 150: "0o644",
                     "L" * 90: "0o755", "L" * 90 + "/" + "M" * 90: "0o644"}  # fmt: skip
    assert (out / "d/l").readlink() == Path("../d/run")
    assert (out / "d/l").read_bytes() == b"#!/bin/sh\n" * 120_000
    assert (out / "again").samefile(out / "d/run2")
    assert unpack(tmp_path / "x.tar", out) == ()  # again: the same


def test_packages_keep_the_sticky_bit_and_links_of_a_root_and_nothing_that_gives_rights(tmp_path: Path) -> None:
    items = [item("top/tmp", DIRECTORY, mode=0o1777), item("top/su", mode=0o6755), item("top/l", LINK, "/etc/x")]
    unpack(write(tmp_path / "x.tar", *items), tmp_path / "out", replace(PACKAGE, strip=1))
    assert [(tmp_path / "out" / name).lstat().st_mode & 0o7777 for name in ("tmp", "su")] == [0o1777, 0o755]
    assert os.readlink(tmp_path / "out/l") == "/etc/x"


def test_a_copy_leaves_out_what_it_may_not_make_and_goes_by_the_umask(tmp_path: Path) -> None:
    items = [item("d", DIRECTORY, mode=0o777), item("d/p", FIFO), item("d/l", LINK, "/etc/passwd"), item("d/x", mode=0o777)]
    before = os.umask(0o027)
    try:
        left_out = unpack(write(tmp_path / "x.tar", *items), tmp_path / "out", COPY)
    finally:
        os.umask(before)
    assert left_out == (
        LeftOut("'d/p'", "a named pipe"),
        LeftOut("'d/l'", "a link that may lead outside ('/etc/passwd')"),
    )
    assert {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "out").rglob("*")} == {"d": 0o750, "x": 0o750}


def test_bounds(tmp_path: Path) -> None:
    archive = write(tmp_path / "x.tar", *(item(str(number), data=b"x" * 1000) for number in range(10)))
    with pytest.raises(ArchiveError, match="more than 9 members"):
        unpack(archive, tmp_path / "a", replace(BUNDLE, most_members=9))
    bomb = tmp_path / "bomb.tar.gz"
    with gzip.open(bomb, "wb", compresslevel=1) as file:
        file.write(item("zeros", size=1 << 40))
        file.write(bytes(1 << 20))
    with pytest.raises(ArchiveError, match="more than 1 MiB"):
        unpack(bomb, tmp_path / "b", replace(BUNDLE, most_bytes=1 << 20))
    assert not list((tmp_path / "b").iterdir())


@pytest.mark.parametrize("compress", [bytes, gzip.compress, lzma.compress])
def test_cut_off_anywhere_or_changed_is_noticed(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    archive = write(tmp_path / "x.tar", item("a", data=b"x" * 3000), item("b", data=os.urandom(3000)))
    whole = compress(archive.read_bytes())
    needed = len(whole) - (1024 if compress is bytes else 0)
    for length in range(0, needed, 97):
        archive.write_bytes(whole[:length])
        with pytest.raises(ArchiveError):
            unpack(archive, tmp_path / "out")
    if compress is not bytes:
        for place in range(20, len(whole), 97):
            archive.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
            with pytest.raises(ArchiveError):
                unpack(archive, tmp_path / "out")


def test_an_interrupted_file_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/x").write_text("old")
    archive = write(tmp_path / "x.tar", item("x", data=b"new" * 1000))

    def interrupted(_reader: TarReader) -> object:
        yield b"new"
        raise KeyboardInterrupt

    monkeypatch.setattr(TarReader, "content", interrupted)
    with pytest.raises(KeyboardInterrupt):
        unpack(archive, tmp_path / "out")
    assert {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} == {"x": "old"}


def test_where_a_link_leads() -> None:
    assert all(leads_inside(target, 2) for target in ("x", "../x", "../../x/y", ".", "./../.././x", "../.."))
    assert not any(leads_inside(target, 2) for target in ("/x", "../../../x", "x/../y", "../x/..", "..//../../x"))


def test_looking_into_an_archive(tmp_path: Path) -> None:
    archive = write(tmp_path / "x.tar", item("./a", data=b"old"), item("a", data=b"new"), item("m", LINK, "m"), item("z"))
    assert (read_member(archive, "a", 10), read_member(archive, "m", 10), read_member(archive, "no", 10)) == (
        b"new",
        None,
        None,
    )
    with pytest.raises(ArchiveError, match="more than"):
        read_member(archive, "a", 2)
    data = archive.read_bytes()
    assert [data[member.offset : member.offset + member.size] for member in list_members(archive)] == [b"old", b"new", b"", b""]
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(data))
    with pytest.raises(ArchiveError, match="compressed"):
        list_members(tmp_path / "x.tar.gz")


def test_what_tar_itself_writes_comes_back(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "d/e").mkdir(parents=True)
    (source / ("n" * 200)).write_text("long")
    (source / "d/e/x").write_text("x")
    (source / "d/l").symlink_to("e/x")
    os.link(source / "d/e/x", source / "y")
    for way in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with contextlib.closing(tarfile.open(tmp_path / "x.tar", "w", format=way)) as archive:
            archive.add(source, ".")
        out = tmp_path / f"out-{way}"
        assert unpack(tmp_path / "x.tar", out) == ()
        for path in source.rglob("*"):
            there = out / path.relative_to(source)
            assert (there.is_symlink(), there.is_dir()) == (path.is_symlink(), path.is_dir())
            assert there.is_dir() or there.read_text() == path.read_text()
        assert (out / "y").samefile(out / "d/e/x")


def test_an_empty_file_and_something_else(tmp_path: Path) -> None:
    for content in (
        b"",
        b"x" * 511,
        b"x" * 2000,
        io.BytesIO(b"PK\x03\x04" * 300).getvalue(),
        b"\x1f\x8b\x08",
        b"BZh9",
        b"\xfd7zXZ\0",
    ):
        (tmp_path / "x.tar").write_bytes(content)
        with pytest.raises(ArchiveError):
            unpack(tmp_path / "x.tar", tmp_path / "out")
