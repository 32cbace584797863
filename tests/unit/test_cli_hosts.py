"""Names in the hosts file: what delete takes out again, and what doctor finds. Over the fake driver."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_door import Door

from localk8s.cluster import host_names
from localk8s.helpers.hosts import HostEntry, with_block
from localk8s.wiring import Installation

NAMES = (HostEntry("192.0.2.1", ("default.localk8s.test",)),)
OTHERS = "127.0.0.1 localhost\n# caf\udce9\n" + with_block("", "other", NAMES)


@pytest.fixture
def table(door: Door, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hosts file with a stranger's byte and block in it, and the cluster's names."""
    path = door.home / "hosts"
    monkeypatch.setattr(host_names, "hosts_file", lambda: path)
    path.write_bytes(OTHERS.encode("utf-8", "surrogateescape"))
    assert door("start").code == 0
    for name, value in door.environment.items():
        monkeypatch.setenv(name, value)
    text = with_block(host_names.read_table(path), "default", NAMES)
    host_names.write_names(Installation(), "default", path, text, can_ask=False)
    assert "default.localk8s.test" in host_names.read_table(path)
    return path


def test_delete_takes_out_the_names_that_were_written_in_and_nothing_else(door: Door, table: Path) -> None:
    assert door("delete", "--yes").code == 0
    assert host_names.read_table(table) == OTHERS


def test_names_that_another_home_wrote_are_left_alone(door: Door, table: Path) -> None:
    (door.home / "l8s/state/clusters/default/hosts-files").unlink()
    before = table.read_bytes()
    assert door("delete", "--yes").code == 0
    assert table.read_bytes() == before


def test_what_cannot_be_taken_out_is_said_with_what_takes_it_out(
    door: Door, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError

    monkeypatch.setattr("localk8s.helpers.hosts.write_atomic", refuse)
    ran = door("delete", "--yes")
    assert ran.code == 0, ran
    assert f"Names of the cluster remain in {table}: sudo localk8s hosts --remove" in ran.err


def test_doctor_tells_about_names_of_clusters_that_are_not_here(door: Door, table: Path) -> None:
    found = door("doctor", "--driver", "fake", "-o", "json").json["items"]
    said = {item["message"]: item["fix"] for item in found}
    assert said[f'{table} has names of cluster "other", which is not here.'] == "sudo localk8s hosts -c other --remove"
    assert not any('"default"' in message for message in said)


def test_the_line_that_doctor_gives_works(door: Door, table: Path) -> None:
    assert door("hosts", "-c", "other", "--remove", "--yes", "--file", str(table)).code == 0
    assert "BEGIN localk8s other" not in host_names.read_table(table)
