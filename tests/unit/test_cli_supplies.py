"""``bundle`` and ``cache``: what they show, throw away and refuse; a cache with small entries in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_door import Door, assert_one_sentence

from localk8s.artifacts.cache import Cache
from localk8s.model.progress import SilentReporter
from localk8s.system import locks


def fill(door: Door) -> Cache:
    cache = Cache(door.home / "l8s/cache/artifacts")
    for name in ("images/pause-1", "images/pause-2"):
        with SilentReporter().step("x", "x") as step:

            def make(work: Path, _: object) -> dict[str, str]:
                (work / "out").mkdir(parents=True)
                (work / "out/archive.tar").write_text("x" * 5000)
                return {}

            cache.obtain(name, name, step, make)
    cache.work("kubernetes/v1.20.2-amd64").mkdir(parents=True)
    return cache


def names(door: Door) -> list[str]:
    return [item["name"] for item in door("cache", "list", "-o", "json").json["items"]]


def test_what_the_cache_holds_is_listed_with_what_was_left_unfinished(door: Door) -> None:
    assert door("cache", "list").out == "The cache is empty.\n"
    fill(door)
    found = door("cache", "list", "-o", "json").json
    assert found["kind"] == "CacheList"
    assert {item["name"]: item["finished"] for item in found["items"]} == {
        "images/pause-1": True,
        "images/pause-2": True,
        "work/kubernetes-v1.20.2-amd64": False,
    }
    assert all(item["bytes"] >= 5000 for item in found["items"] if item["finished"])
    assert door("cache", "list", "-o", "name").out.split() == [item["name"] for item in found["items"]]
    assert "in all" in door("cache", "list").out


def test_entries_are_thrown_away_by_name_or_all(door: Door) -> None:
    fill(door)
    assert "thrown away" in door("cache", "delete", "images/pause-1", "--yes").out
    assert names(door) == ["images/pause-2", "work/kubernetes-v1.20.2-amd64"]
    door("cache", "delete", "--all", "--yes")
    assert names(door) == []


def test_an_entry_that_is_being_made_stays(door: Door) -> None:
    cache = fill(door)
    with locks.exclusive(cache.directory / "locks/kubernetes-v1.20.2-amd64.lock", what="it"):
        assert door("cache", "delete", "--all", "--yes").code == 0
    assert names(door) == ["work/kubernetes-v1.20.2-amd64"]


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["cache", "delete", "--yes"], 2),
        (["cache", "delete", "images/pause-1", "--all", "--yes"], 2),
        (["cache", "delete", "images/pause-1", "images/nowhere", "--yes"], 3),
        (["cache", "delete", "../../../etc", "--yes"], 3),
        (["cache", "delete", "--all"], 2),
        (["bundle", "there.tar"], 4),
        (["bundle", "bundle.zip"], 2),
        (["bundle", "new.tar", "--kubernetes-version", "latest"], 2),
        (["bundle", "new.tar", "--kubernetes-version", "1.30.1"], 11),
    ],
)
def test_what_is_refused_changes_nothing(
    door: Door, argv: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fill(door)
    Path("there.tar").write_text("mine")
    assert_one_sentence(door(*argv, LOCALK8S_OFFLINE="1"), {code})
    assert len(names(door)) == 3
    assert Path("there.tar").read_text() == "mine"
    assert not list(tmp_path.glob("*.zip")) and not list(tmp_path.glob("new*"))
