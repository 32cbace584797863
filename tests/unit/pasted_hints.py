"""Hints as their reader uses them: the localk8s commands in them, parsed by the real command line."""

from __future__ import annotations

import re
import shlex
from functools import cache
from typing import Any

from typer import Exit
from typer._click.exceptions import ClickException
from typer.main import get_command

from localk8s.cli.app import build_app, command_names, split_passthrough

_BEGIN = re.compile(r"(?:^|(?<=sudo )|(?<=&& )|(?<=\| )|(?<=: )|(?<=\w=\S ))localk8s (?=[a-z])")
_END = re.compile(r" && | \| |; |, | +# ")


def commands_in(hint: str) -> list[list[str]]:
    """The words behind each ``localk8s`` of a hint that is to be pasted."""
    found = []
    for begin in _BEGIN.finditer(hint):
        rest = hint[begin.end() :]
        line = _END.split(rest, maxsplit=1)[0] if "'" not in rest else rest.partition(" && ")[0]
        found.append(shlex.split(line))
    return found


def complaint_about(words: list[str]) -> str:
    """What is wrong with a command that a hint names; empty when it could be pasted."""
    ours, _ = split_passthrough(words)
    command, path = _tree(), []
    while ours and hasattr(command, "commands"):
        if ours == ["--help"]:
            return ""
        if ours[0] not in command.commands:
            return f"there is no command {' '.join([*path, ours[0]])}"
        path.append(ours.pop(0))
        command = command.commands[path[-1]]
    if " ".join(path) not in command_names():
        return f"{' '.join(path)} is not a whole command"
    if path[-1] in ("delete", "rm") and {"--yes", "-y"} & set(ours):
        return "it deletes unasked"
    try:
        command.make_context(" ".join(path), ours)
    except Exit:
        return ""  # --help
    except ClickException as exc:
        return exc.format_message()
    return ""


@cache
def _tree() -> Any:
    return get_command(build_app())
