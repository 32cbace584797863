"""Fixtures of the unit tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_door import Door
from hypothesis import settings


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Door:
    """localk8s with a home of its own and the fake driver."""
    return Door(tmp_path, monkeypatch, capsys)


settings.register_profile("untimed", deadline=None)  # a loaded machine is no failure
settings.load_profile("untimed")
