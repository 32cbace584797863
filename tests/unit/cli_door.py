"""How the tests of the command line knock: in this process, or as a program of its own, always with a home of their own.

The fake driver comes the way every plugin comes: by an entry point of an installed distribution.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from localk8s.cli.app import main

ENTRY_POINTS = "[localk8s.drivers]\nfake = localk8s.testing:build\nbroken = localk8s_no_such_module:build\n"


@dataclass(frozen=True)
class Ran:
    """A command line that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as one JSON document."""
        return json.loads(self.out)

    @property
    def events(self) -> list[dict[str, Any]]:
        """Standard output as one JSON document a line."""
        return [json.loads(line) for line in self.out.splitlines()]


class Door:
    """Runs localk8s with a home of its own and the fake driver as its plugin."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self.kubeconfig = home / "kubeconfig"
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        plugins = home / "plugins"
        distribution = plugins / "fake_driver-1.dist-info"
        distribution.mkdir(parents=True)
        (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-driver\nVersion: 1\n")
        (distribution / "entry_points.txt").write_text(ENTRY_POINTS)
        monkeypatch.syspath_prepend(str(plugins))
        self.environment = {
            "LOCALK8S_HOME": str(home / "l8s"),
            "LOCALK8S_DRIVER": "fake",
            "KUBECONFIG": str(self.kubeconfig),
            "HOME": str(home),
            "PATH": os.environ["PATH"],
        }

    def __call__(self, *argv: str, **variables: str) -> Ran:
        """Run in this process; standard input is no terminal."""
        with self._monkeypatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("LOCALK8S_")]:
                patch.delenv(name)
            for name, value in {**self.environment, **variables}.items():
                patch.setenv(name, value)
            patch.setattr(sys, "stdin", open(os.devnull))  # noqa: SIM115 - closed by the test's end
            self._capsys.readouterr()
            try:
                code = main(list(argv))
            except SystemExit as exc:
                code = int(exc.code or 0)
            finally:
                sys.stdin.close()
        out, err = self._capsys.readouterr()
        return Ran(code, out, err)

    def program(self, *argv: str, **variables: str) -> subprocess.Popen[str]:
        """Start it as a program of its own."""
        return subprocess.Popen(
            [sys.executable, "-c", "import sys; from localk8s.cli.app import main; sys.exit(main())", *argv],
            env=self.all_variables(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def all_variables(self, more: Mapping[str, str]) -> dict[str, str]:
        """The environment of a program, the plugin's directory on its path."""
        return {**self.environment, "PYTHONPATH": str(self.home / "plugins"), **more}

    @property
    def files(self) -> set[str]:
        """All files below localk8s's home, relative to it."""
        top = self.home / "l8s"
        return {str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()}


def assert_one_sentence(ran: Ran, codes: set[int]) -> None:
    """The command failed with one of ``codes``, told in one ``error:`` line and hints, without a traceback."""
    assert ran.code in codes, ran
    lines = ran.err.splitlines()
    assert sum(line.startswith("error: ") for line in lines) == 1, ran
    assert "Traceback" not in ran.err
    begins = ("error: ", "  hint: ", "  log:  ", "  ✗ ", "  ✓ ", "  ! ", "localk8s: ")
    assert all(line.startswith(begins) for line in lines), ran
    assert ran.out == "", ran
