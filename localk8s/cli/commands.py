"""How commands look: plain, quick help in groups, with one example each. Must not know any command.

Help is laid out here instead of by rich, whose import would take longer than everything else of ``--help``.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator
from typing import Any

from typer.core import TyperCommand, TyperGroup

GENERAL = "General"
"""The group that comes last."""
_WIDEST = 100
_GAP = 2
_MOST_LEFT = 32


def _width() -> int:
    return min(_WIDEST, shutil.get_terminal_size((80, 24)).columns)


def two_columns(rows: list[tuple[str, str]], width: int) -> Iterator[str]:
    """Lines of names and their explanations, wrapped to ``width`` characters."""
    left = min(max((len(name) for name, _ in rows), default=0), _MOST_LEFT) + _GAP
    for name, explanation in rows:
        lines = textwrap.wrap(explanation, max(20, width - left - 2)) or [""]
        if len(name) + _GAP > left:
            yield f"  {name}"
        else:
            yield f"  {name:{left}}{lines.pop(0)}".rstrip()
        for line in lines:
            yield f"  {'':{left}}{line}"


def _option_name(param: Any) -> str:
    short = [opt for opt in param.opts if not opt.startswith("--")]
    long = [opt for opt in param.opts if opt.startswith("--")]
    names = ", ".join([*short, *long]) or param.name
    if param.secondary_opts:
        names += "/" + "/".join(param.secondary_opts)
    return names if param.is_flag or param.count else f"{names} {param.metavar or 'TEXT'}"


def _groups(params: list[Any]) -> dict[str, list[tuple[str, str]]]:
    groups: dict[str, list[tuple[str, str]]] = {}
    for param in params:
        if getattr(param, "hidden", False):
            continue
        if param.param_type_name == "argument":
            groups.setdefault("Arguments", []).append((param.metavar or param.name.upper(), param.help or ""))
        else:
            panel = param.rich_help_panel or GENERAL
            groups.setdefault(panel, []).append((_option_name(param), param.help or ""))
    groups[GENERAL] = groups.pop(GENERAL, [])
    return groups


class _AsGiven:
    """Takes values as they come: text, a list of text, a flag, a count. Typer would load pydantic to find that out."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value; an empty list where none was given."""
        return () if value is None and (param.multiple or param.nargs == -1) else value


def _take_as_given(params: list[Any]) -> None:
    for param in params:
        param._runtime_param = _AsGiven()


class Command(TyperCommand):
    """A command whose epilog is its example, and whose values are parsed by the library."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, leaving the values as they were given."""
        _take_as_given(self.get_params(ctx))
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What stands behind the command in its usage line."""
        arguments = [param.metavar or param.name.upper() for param in self.params if param.param_type_name == "argument"]
        return ["[OPTIONS]", *arguments]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Usage, one sentence or two, options in groups, an example."""
        width = _width()
        write = formatter.write
        write(f"Usage: {ctx.command_path} {' '.join(self.collect_usage_pieces(ctx))}\n\n")
        for paragraph in (self.help or "").split("\n\n"):
            write(textwrap.fill(" ".join(paragraph.split()), width) + "\n\n")
        for title, rows in _groups(self.get_params(ctx)).items():
            if rows:
                write(f"{title}:\n" + "\n".join(two_columns(rows, width)) + "\n\n")
        write(f"Example:\n  {self.epilog}\n")


class Group(TyperGroup):
    """The list of commands, in the order and groups in which they were added."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As for a command."""
        _take_as_given(self.get_params(ctx))
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order in which they were added."""
        return list(self.commands)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Usage, what it is, commands in groups, an example."""
        width = _width()
        write = formatter.write
        write(f"Usage: {ctx.command_path} COMMAND [OPTIONS]\n\n")
        write(textwrap.fill(" ".join((self.help or "").split()), width) + "\n\n")
        groups: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                sentence = (command.help or "").split("\n\n")[0]
                groups.setdefault(command.rich_help_panel or "Commands", []).append((name, " ".join(sentence.split())))
        left = max((len(name) for rows in groups.values() for name, _ in rows), default=0)
        for title, rows in groups.items():
            padded = [(f"{name:{left}}", sentence) for name, sentence in rows]
            write(f"{title}:\n" + "\n".join(two_columns(padded, width)) + "\n\n")
        options = _groups(self.get_params(ctx))[GENERAL]
        write("Options:\n" + "\n".join(two_columns(options, width)) + "\n\n")
        write(f"Example:\n  {self.epilog}\n")
