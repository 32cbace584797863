"""Variables as shells take them: assignments to evaluate, and what takes them back. Pure.

Owns quoting per shell and what ``--unset`` restores. What was there before is kept in variables of the shell itself, so
nothing is written to disk and each shell has its own.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from localk8s.model.errors import UsageError

KEPT = "LOCALK8S_EXISTING_"
ACTIVE = "LOCALK8S_ACTIVE_DOCKER"
"""Set while the variables are; its value is the cluster's name."""


class Shell(StrEnum):
    """What ``--shell`` takes."""

    BASH = "bash"
    ZSH = "zsh"
    SH = "sh"
    FISH = "fish"
    TCSH = "tcsh"
    POWERSHELL = "powershell"
    CMD = "cmd"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one shell says it."""

    assign: Callable[[str, str], str]
    remove: Callable[[str], str]
    fail: str
    """A line that evaluates to false."""


def _fish(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _tcsh(value: str) -> str:
    inside = value.replace("'", "'\\''").replace("!", "\\!").replace("\n", "\\\n")
    return f"'{inside}'"


def _powershell(value: str) -> str:
    for quote in "'\u2018\u2019\u201a\u201b":  # PowerShell takes all of these for the same quote
        value = value.replace(quote, quote * 2)
    return f"'{value}'"


def _cmd(name: str, value: str) -> str:
    if any(each in value for each in '"\n\r%!'):
        raise UsageError(f"{name} cannot be told to cmd: its value holds a quote, a line's end, % or !.")
    return f'SET "{name}={value}"'


def _none(name: str, value: str) -> str:
    if "\n" in value or "\r" in value:
        raise UsageError(f"{name} cannot be written in one line: its value holds a line's end.")
    return f"{name}={value}"


def _posix_word(value: str) -> str:
    """Quoted where any shell of the family would read something else: zsh takes ``=ls`` for the path of ls."""
    return f"'{value}'" if "=" in value and shlex.quote(value) == value else shlex.quote(value)


_POSIX = Dialect(lambda name, value: f"export {name}={_posix_word(value)}", lambda name: f"unset {name}", "false")
DIALECTS: Mapping[Shell, Dialect] = {
    Shell.BASH: _POSIX,
    Shell.ZSH: _POSIX,
    Shell.SH: _POSIX,
    Shell.FISH: Dialect(lambda name, value: f"set -gx {name} {_fish(value)};", lambda name: f"set -e {name};", "false;"),
    Shell.TCSH: Dialect(lambda name, value: f"setenv {name} {_tcsh(value)};", lambda name: f"unsetenv {name};", "false;"),
    Shell.POWERSHELL: Dialect(
        lambda name, value: f"$Env:{name} = {_powershell(value)}",
        lambda name: f"Remove-Item Env:\\{name} -ErrorAction SilentlyContinue",
        "throw 'localk8s docker-env failed'",
    ),
    Shell.CMD: Dialect(_cmd, lambda name: f'SET "{name}="', "EXIT /B 1"),
    Shell.NONE: Dialect(_none, lambda name: f"{name}=", ""),
}


def parse_shell(name: str) -> Shell:
    """The shell called ``name``.

    Raises:
        UsageError: none is.
    """
    try:
        return {"dash": Shell.SH, "ksh": Shell.SH, "ash": Shell.SH, "csh": Shell.TCSH, "pwsh": Shell.POWERSHELL}.get(
            name
        ) or Shell(name)
    except ValueError:
        raise UsageError(f"{name!r} is no shell: {', '.join(Shell)}.", hint="localk8s docker-env --shell bash") from None


def detect_shell(variable: str | None) -> Shell:
    """The shell that the value of SHELL names; bash where it names none that is known."""
    try:
        return parse_shell((variable or "bash").rpartition("/")[2])
    except UsageError:
        return Shell.BASH


def assignments(shell: Shell, cluster: str, wanted: Mapping[str, str], environment: Mapping[str, str]) -> str:
    """What sets ``wanted`` and keeps what was there before (the first time; again keeps what was kept).

    Raises:
        UsageError: this shell has no way to say a value.
    """
    dialect = DIALECTS[shell]
    lines = []
    if shell is not Shell.NONE:
        if ACTIVE not in environment:
            lines += [dialect.assign(f"{KEPT}{name}", environment[name]) for name in wanted if name in environment]
        lines.append(dialect.assign(ACTIVE, cluster))
    lines += [dialect.assign(name, value) for name, value in wanted.items()]
    return "".join(f"{line}\n" for line in lines)


def removals(shell: Shell, names: tuple[str, ...], environment: Mapping[str, str]) -> str:
    """What brings back what was there before ``assignments``; nothing where they were not evaluated."""
    dialect = DIALECTS[shell]
    if ACTIVE not in environment:
        return ""
    lines = []
    for name in names:
        kept = environment.get(f"{KEPT}{name}")
        if kept is not None:
            lines += [dialect.assign(name, kept), dialect.remove(f"{KEPT}{name}")]
        elif name in environment:
            lines.append(dialect.remove(name))
    lines.append(dialect.remove(ACTIVE))
    return "".join(f"{line}\n" for line in lines)
