"""Full disks: what is taken for one, what is said, and that nothing waits on one. No disk is filled here (see tests/e2e)."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from cli_door import Door

from localk8s.drivers.native.storage import is_read_only
from localk8s.model.errors import ArtifactError, CommandError, Localk8sError, WaitTimeoutError
from localk8s.model.quantities import GIB, MIB
from localk8s.system.disk_space import DiskFullError, disk_full, full_disk_behind, is_about_space, room_at
from localk8s.system.wait import unless, wait_until
from localk8s.testing import driver as fake_driver

NO_ROOM = OSError(errno.ENOSPC, "No space left on device")
IN_A_NODE = CommandError(["ctr"], 1, "", "write /var/lib/x: input/output error")


def free(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Let every file system have 3 GiB, and ``size`` bytes of it free."""
    state = SimpleNamespace(f_frsize=4096, f_bavail=size // 4096, f_blocks=3 * GIB // 4096)
    monkeypatch.setattr(os, "statvfs", lambda path: state)


def test_the_sentence_says_what_is_full_and_how_much_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "not" / "there"
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path)
    free(monkeypatch, 3 * MIB)
    error = disk_full(place, "the clusters")
    assert error.message == f"The disk is full: 3 MiB of 3.0 GiB are free on {tmp_path}, which keeps the clusters."
    assert (error.hint, error.exit_code) == (f"df -h {place}", 5)


def test_the_real_room_of_a_real_place(tmp_path: Path) -> None:
    room = room_at(tmp_path / "not/there")
    assert 0 < room.free <= room.total and room.mount.is_mount() and tmp_path.is_relative_to(room.mount)


@pytest.mark.parametrize(
    ("exc", "size", "full"),
    [
        (WaitTimeoutError("Waited."), 1 * MIB, True),  # whatever it was: nothing more can be written
        (WaitTimeoutError("Waited."), 100 * MIB, False),
        (NO_ROOM, 100 * MIB, True),  # what did not fit is gone already
        (NO_ROOM, 2 * GIB, False),  # another disk
        (IN_A_NODE, 100 * MIB, True),
        (IN_A_NODE, 2 * GIB, False),
        (CommandError(["dd"], 1, "", "dd: No space left on device"), 2 * GIB, False),  # the node's own bound
    ],
)
def test_what_a_full_disk_is_behind(monkeypatch: pytest.MonkeyPatch, exc: Exception, size: int, full: bool) -> None:
    free(monkeypatch, size)
    found = full_disk_behind(exc, {Path("/"): "the clusters"})
    assert (found is not None) == full


def test_what_is_about_space() -> None:
    wrapped = ArtifactError("It cannot be written.")
    wrapped.__cause__ = NO_ROOM
    assert all(is_about_space(exc) for exc in (NO_ROOM, wrapped, CommandError(["go"], 1, "", "No space left on device")))
    assert not any(is_about_space(exc) for exc in (OSError(errno.EIO, "x"), IN_A_NODE, ValueError("No space left on device")))


def test_a_wait_that_is_vain_ends_at_once() -> None:
    looks = []

    def vain() -> None:
        if len(looks) == 3:
            raise DiskFullError("full")

    with pytest.raises(DiskFullError), unless(vain):
        wait_until(lambda: looks.append(1), what="it", timeout=60, interval=0)
    with pytest.raises(WaitTimeoutError):  # outside of the block waits are as ever
        wait_until(lambda: None, what="it", timeout=0)
    assert len(looks) == 3


def test_a_read_only_disk_is_found_among_the_mounts() -> None:
    mounts = (
        "96 95 0:5 / /proc rw,nosuid - proc proc rw\n"
        "97 95 7:1 / /mine ro,relatime - ext4 /dev/loop1 rw\n"
        "98 95 7:3 /var /var rw,noatime - ext4 /dev/loop3 {}\n"
    )
    assert is_read_only(mounts.format("ro"), "7:3")
    assert is_read_only(mounts.format("rw,emergency_ro"), "7:3")
    assert not is_read_only(mounts.format("rw"), "7:3")
    assert not is_read_only(mounts.format("ro"), "7:1")  # only this mount of it is


def test_a_start_that_fails_on_a_full_disk_names_it(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        free(monkeypatch, 0)  # full as long as what was made is there
        raise WaitTimeoutError("Waited 180 s for the API server.")

    monkeypatch.setattr(fake_driver.FakeDriver, "create", fails)
    ran = door("start")
    assert ran.code == 5
    assert "error: The disk is full: 0 B of 3.0 GiB are free on " in ran.err and "Waited" not in ran.err


def test_a_cluster_that_is_there_is_not_started_on_a_full_disk(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    assert door("start").code == 0
    assert door("stop").code == 0
    free(monkeypatch, 0)
    ran = door("start")
    assert ran.code == 5 and "The disk is full" in ran.err
    assert door("delete", "--yes").code == 0


def test_an_error_of_any_command_names_the_full_disk(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    assert door("start").code == 0

    def fails(*_: object) -> None:
        raise Localk8sError("It went wrong.")

    monkeypatch.setattr(fake_driver.FakeDriver, "logs", fails)
    assert door("logs").code == 1
    free(monkeypatch, 0)
    ran = door("logs")
    assert ran.code == 5 and ran.err.count("error: The disk is full") == 1
