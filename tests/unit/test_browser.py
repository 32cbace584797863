"""Under sudo the browser is the user's own program, in the user's session."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from localk8s.system import browser
from localk8s.system.owner import Owner

USER = Owner(54321, 54322, "learner", Path("/home/learner"))


class _Process:
    def __init__(self, code: int | None) -> None:
        self._code = code

    def wait(self, timeout: float) -> int:
        if self._code is None:
            raise subprocess.TimeoutExpired("xdg-open", timeout)
        return self._code


@pytest.mark.parametrize(("code", "opened"), [(0, True), (3, False), (None, True)])
def test_it_runs_as_the_user(monkeypatch: pytest.MonkeyPatch, code: int | None, opened: bool) -> None:
    seen: dict[str, Any] = {}

    def popen(argv: list[str], **more: Any) -> _Process:
        seen.update(more, argv=argv)
        return _Process(code)

    monkeypatch.setattr(browser.shutil, "which", lambda name, path: f"/usr/bin/{name}")
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [gid, 27])
    monkeypatch.setattr(subprocess, "Popen", popen)
    environment = {"DISPLAY": ":0", "HOME": "/root", "LD_PRELOAD": "x", "SUDO_UID": "54321"}
    assert browser.open_browser("file:///x.html", USER, environment) is opened
    assert seen["argv"] == ["/usr/bin/xdg-open", "file:///x.html"]
    assert (seen["user"], seen["group"], seen["extra_groups"]) == (54321, 54322, [54322, 27])
    assert seen["env"]["HOME"] == "/home/learner"
    assert seen["env"]["DISPLAY"] == ":0"
    assert not {"LD_PRELOAD", "SUDO_UID"} & seen["env"].keys()


def test_without_a_browser_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser.shutil, "which", lambda name, path: None)
    assert browser.open_browser("file:///x.html", USER, {}) is False


def test_a_wayland_session_that_sudo_did_not_keep_is_found(tmp_path: Path) -> None:
    assert "WAYLAND_DISPLAY" not in browser.variables_of(USER, {"XDG_RUNTIME_DIR": str(tmp_path)})
    with socket.socket(socket.AF_UNIX) as display:
        display.bind(str(tmp_path / "wayland-0"))
        assert browser.variables_of(USER, {"XDG_RUNTIME_DIR": str(tmp_path)})["WAYLAND_DISPLAY"] == "wayland-0"


def test_where_none_is_told_the_session_is_that_of_the_user() -> None:
    assert browser.variables_of(USER, {})["XDG_RUNTIME_DIR"] == "/run/user/54321"
