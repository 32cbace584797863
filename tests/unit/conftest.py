"""Fixtures of the unit tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_door import Door
from hypothesis import settings
from pasted_hints import commands_in, complaint_about

from localk8s.cli import errors as door_errors
from localk8s.model.errors import Localk8sError
from localk8s.model.hints import set_bare_cluster


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Door:
    """localk8s with a home of its own and the fake driver."""
    return Door(tmp_path, monkeypatch, capsys)


settings.register_profile("untimed", deadline=None)  # a loaded machine is no failure
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _every_hint_can_be_pasted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every hint of an error that is raised while a test runs is parsed by the real command line, and none deletes unasked."""
    set_bare_cluster(None)
    raised: list[Localk8sError] = []
    shown: set[str] = set()
    begin, text_of = Localk8sError.__init__, door_errors.text_of

    def remember(self: Localk8sError, *arguments: Any, **more: Any) -> None:
        begin(self, *arguments, **more)
        raised.append(self)

    def remember_shown(error: Localk8sError, **more: Any) -> str:
        shown.add(error.hint)
        return text_of(error, **more)

    monkeypatch.setattr(Localk8sError, "__init__", remember)
    monkeypatch.setattr(door_errors, "text_of", remember_shown)
    yield
    hints = shown | {error.hint for error in raised if isinstance(getattr(error, "hint", None), str)}
    bad = {hint: why for hint in hints for words in commands_in(hint) if (why := complaint_about(words))}
    if "minikube" in request.node.nodeid:  # its hints are still to be converted
        bad = {hint: why for hint, why in bad.items() if why != "it deletes unasked"}
    assert not bad, f"hints that cannot be pasted: {bad}"
