"""It starts fast: quick commands load nothing heavy. Held by what is imported, not by a clock."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from cli_door import Door

HEAVY = {
    "kubernetes",
    "rich",
    "pydantic",
    "pydantic_core",
    "jinja2",
    "vagrant",
    "psutil",
    "ruamel",
    "yaml",
    "requests",
    "urllib3",
    "asyncio",
}
REPORT = (
    "import json, sys\nfrom localk8s.cli.app import main\ncode = main(sys.argv[1:])\n"
    "sys.stderr.write('\\n' + json.dumps([code, sorted(sys.modules)]))"
)


def loaded(door: Door, *argv: str) -> set[str]:
    """Top-level modules that the command loads."""
    done = subprocess.run(
        [sys.executable, "-c", REPORT, *argv],
        env=door.all_variables({}),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done
    return {module.partition(".")[0] for module in modules}


@pytest.mark.parametrize(
    "argv", [["--help"], ["start", "--help"], ["version"], ["ip"], ["list", "-o", "name"], ["status", "-o", "json"]]
)
def test_quick_commands_load_nothing_heavy(door: Door, argv: list[str]) -> None:
    door("start")
    assert loaded(door, *argv) & HEAVY == set()


def test_the_library_loads_its_names_when_asked() -> None:
    code = "import localk8s as l, sys; old = set(sys.modules); l.Cluster; assert 'localk8s.cluster' in set(sys.modules) - old"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
