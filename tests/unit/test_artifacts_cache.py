"""The cache: whole or not there, checked on every use, made once however many want it."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from localk8s.artifacts.cache import Cache, Entry
from localk8s.model.errors import ArtifactError, CommandError
from localk8s.model.progress import SilentReporter, Step
from localk8s.system.disk_space import DiskFullError

Make = Callable[[Path, Step], Mapping[str, str]]


class Recorded:
    """A step that keeps what it was told."""

    def __init__(self) -> None:
        self.details: list[str] = []
        self.told = threading.Event()

    def progress(self, done: float, total: float | None, detail: str = "") -> None:
        self.details.append(detail)
        if "another localk8s" in detail:
            self.told.set()

    def finish_as(self, title: str) -> None:
        raise AssertionError(title)


def maker(content: str = "hello", times: list[str] | None = None) -> Make:
    def make(work: Path, step: Step) -> Mapping[str, str]:
        if times is not None:
            times.append(content)
        (work / "out/sub").mkdir(parents=True)
        (work / "out/sub/file").write_text(content)
        (work / "out/link").symlink_to("sub/file")
        return {"source": "test"}

    return make


def obtain(cache: Cache, make: Make, name: str = "kind/one", *, resumable: bool = False) -> Entry:
    with SilentReporter().step("x", "x") as step:
        return cache.obtain(name, "the thing", step, make, resumable=resumable)


def test_an_entry_is_made_once_and_found_again(tmp_path: Path) -> None:
    times: list[str] = []
    first = obtain(Cache(tmp_path), maker(times=times))
    again = obtain(Cache(tmp_path), maker(times=times))
    assert times == ["hello"]
    assert (first.path, first.digest) == (again.path, again.digest)
    assert again.manifest.facts == {"source": "test"}
    assert (again.path / "link").read_text() == "hello"
    assert Cache(tmp_path).names("kind") == ("kind/one",)
    assert not Cache(tmp_path).work("kind/one").exists()


def test_equal_files_have_equal_digests_and_others_not(tmp_path: Path) -> None:
    entries = [obtain(Cache(tmp_path), maker(text), f"kind/{number}") for number, text in enumerate("aab")]
    assert entries[0].digest == entries[1].digest != entries[2].digest


@pytest.mark.parametrize("damage", ["longer", "same size", "gone", "a link"])
def test_a_changed_file_is_refused_and_named(tmp_path: Path, damage: str) -> None:
    path = obtain(Cache(tmp_path), maker()).path / "sub/file"
    if damage == "longer":
        path.write_text("hello!")
    elif damage == "same size":
        path.write_text("jello")
        os.utime(path, ns=(1, 1))
    else:
        path.unlink()
        if damage == "a link":
            path.symlink_to("/etc/hostname")
    with pytest.raises(ArtifactError, match=str(path)) as caught:
        Cache(tmp_path).find("kind/one")
    assert caught.value.hint == f"rm -rf {tmp_path}/kind/one"


def test_a_touched_file_is_read_again_and_then_believed(tmp_path: Path) -> None:
    path = obtain(Cache(tmp_path), maker()).path / "sub/file"
    os.utime(path, ns=(1, 1))
    assert Cache(tmp_path).find("kind/one") is not None
    manifest = json.loads((tmp_path / "kind/one/manifest.json").read_text())
    assert manifest["files"]["sub/file"][2] == 1


@pytest.mark.parametrize(
    "content", [None, "", "{", "[]", '{"format": 2}', '{"format": 1, "facts": {}, "files": {"a": 1}}', "\xff"]
)
def test_a_damaged_manifest_is_one_clear_error(tmp_path: Path, content: str | None) -> None:
    manifest = obtain(Cache(tmp_path), maker()).path / "manifest.json"
    if content is None:
        manifest.unlink()
    else:
        manifest.write_text(content, encoding="latin-1")
    with pytest.raises(ArtifactError, match="damaged") as caught:
        Cache(tmp_path).find("kind/one")
    assert "rm -rf" in caught.value.hint


@pytest.mark.parametrize("resumable", [False, True])
def test_a_failure_leaves_no_entry_and_work_only_if_worth_it(tmp_path: Path, resumable: bool) -> None:
    def fail(work: Path, step: Step) -> Mapping[str, str]:
        (work / "half").write_text("x")
        raise ArtifactError("no")

    with pytest.raises(ArtifactError, match="no"):
        obtain(Cache(tmp_path), fail, resumable=resumable)
    assert Cache(tmp_path).find("kind/one") is None
    assert (Cache(tmp_path).work("kind/one") / "half").exists() is resumable
    assert obtain(Cache(tmp_path), maker()).path.is_dir()


@pytest.mark.parametrize(
    "trouble",
    [OSError(errno.ENOSPC, "No space left on device"), CommandError(["go"], 1, "", "write /x: No space left on device")],
    ids=["own write", "program"],
)
def test_a_full_disk_is_said_and_what_filled_it_is_removed(tmp_path: Path, trouble: Exception) -> None:
    def fill(work: Path, step: Step) -> Mapping[str, str]:
        (work / "half").write_text("x")
        raise trouble

    with pytest.raises(DiskFullError, match=r"The disk is full: .* are free on .*, which keeps the artifact cache") as caught:
        obtain(Cache(tmp_path), fill, resumable=True)
    assert caught.value.hint == f"df -h {tmp_path}"
    assert not Cache(tmp_path).work("kind/one").exists()


def test_a_cache_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the directory should be")
    with pytest.raises(ArtifactError, match="cannot be used") as caught:
        obtain(Cache(tmp_path / "cache"), maker())
    assert "LOCALK8S_CACHE=" in caught.value.hint


def test_of_two_at_once_one_makes_it_and_the_other_waits_and_is_told(tmp_path: Path) -> None:
    started, waiting, times = threading.Event(), Recorded(), list[str]()
    found: list[Entry] = []

    def slow(work: Path, step: Step) -> Mapping[str, str]:
        step.progress(3, 7, "compiling")
        started.set()
        assert waiting.told.wait(20)
        return maker(times=times)(work, step)

    def second() -> None:
        assert started.wait(20)
        found.append(Cache(tmp_path).obtain("kind/one", "the thing", waiting, maker(times=times)))

    thread = threading.Thread(target=second)
    thread.start()
    found.append(obtain(Cache(tmp_path), slow))
    thread.join(20)
    assert times == ["hello"]
    assert found[0].digest == found[1].digest
    assert "compiling (another localk8s is at it)" in waiting.details
    assert not list((tmp_path / "locks").glob("*.progress"))


def test_adopting_checks_every_file(tmp_path: Path) -> None:
    source = obtain(Cache(tmp_path / "a"), maker()).path
    with SilentReporter().step("x", "x") as step:
        adopted = Cache(tmp_path / "b").adopt("kind/one", "it", source, step)
        assert (adopted.path / "link").read_text() == "hello"
        (source / "sub/file").write_text("jello")
        with pytest.raises(ArtifactError, match="sub/file"):
            Cache(tmp_path / "c").adopt("kind/one", "it", source, step)
    assert Cache(tmp_path / "c").find("kind/one") is None
