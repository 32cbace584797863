"""Help: every command has one sentence, its options in groups, and an example that works as pasted."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest
from cli_door import Door, assert_one_sentence
from typer.main import get_command

from localk8s.cli.app import build_app, command_names, split_passthrough
from localk8s.cli.commands import GENERAL

TOP = Path(__file__).resolve().parents[2]
WANTED = {"start", "stop", "delete", "status", "list", "ip", "kubeconfig", "kubectl", "ssh", "logs", "demo"} | {
    "doctor",
    "setup",
    "version",
}


def words_of(example: str) -> list[str]:
    """localk8s's own arguments in an example, which may be part of a pipeline or of an evaluation."""
    found = re.search(r"localk8s ([^|&)]*)", example)
    assert found is not None, example
    return shlex.split(found[1])


def docs_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("localk8s_docs_script", TOP / "scripts/docs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_is_there() -> None:
    assert set(command_names()) >= WANTED


@pytest.mark.parametrize("name", command_names())
def test_help_fits_a_terminal_and_has_its_parts(door: Door, name: str) -> None:
    ran = door(*name.split(), "--help", COLUMNS="80")
    assert ran.code == 0
    assert ran.out.startswith(f"Usage: localk8s {name} [OPTIONS]")
    assert f"\n{GENERAL}:\n" in ran.out
    assert f"localk8s {name}" in ran.out.rpartition("\nExample:\n  ")[2]
    assert max(len(line) for line in ran.out.splitlines()) <= 80


@pytest.mark.parametrize("name", command_names())
def test_the_example_parses(name: str) -> None:
    root = get_command(build_app())
    command = root
    for word in name.split():
        command = command.commands[word]  # type: ignore[attr-defined]
    ours, _ = split_passthrough(words_of(str(command.epilog)))
    context = command.make_context(name, ours[len(name.split()) :])
    assert context.args == []


def test_examples_work_as_pasted(door: Door) -> None:
    """Those that need neither a real API nor an installer, in an order in which a person would paste them."""
    root = get_command(build_app())
    for name in ("start", "status", "list", "ip", "ssh", "kubeconfig", "logs", "version", "stop", "delete"):
        example = root.commands[name].epilog  # type: ignore[attr-defined]
        assert door(*shlex.split(example)[1:]).code == 0, example


def test_generated_pages_say_what_the_code_says() -> None:
    module = docs_script()
    for path, text in module.generated().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: make docs"


def test_the_exit_codes_of_all_errors_are_in_the_table() -> None:
    from localk8s.cli.errors import exit_code_table
    from localk8s.model import errors

    table = exit_code_table()
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.Localk8sError)]
    assert len(kinds) > 10
    for kind in kinds:
        assert f"| {kind.exit_code} | `{kind.code}` |" in table


def test_completion_knows_clusters_and_reads_nothing_else(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    door("start", "-c", "one")
    (door.home / "l8s/state/clusters/one/cluster.json").write_text("damaged")
    ran = door(_LOCALK8S_COMPLETE="complete_bash", COMP_WORDS="localk8s status -c ", COMP_CWORD="3")
    assert ran.out.split() == ["one"]
    ran = door(_LOCALK8S_COMPLETE="complete_bash", COMP_WORDS="localk8s sta", COMP_CWORD="1")
    assert ran.out.split() == ["start", "status"]


def test_completion_script_can_be_shown(door: Door) -> None:
    assert "complete" in door("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1").out


def test_a_mistyped_command_names_the_near_one(door: Door) -> None:
    ran = door("statsu")
    assert_one_sentence(ran, {2})
    assert "status" in ran.err
