"""Variables as shells take them: assignments to evaluate, and what takes them back. Pure.

Owns quoting per shell and what ``--unset`` restores. What was there before is kept in variables of the shell itself, by the
shell itself: nothing is written to disk, each shell has its own, and no value of the user's passes through any quoting.

``eval $(…)`` splits what is printed at blanks, tabs and line ends, matches every piece against the names of files, and joins
the pieces with single blanks. So statements end in semicolons, and a byte that splits, matches or quotes is printed
as a number.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from localk8s.model.errors import UsageError
from localk8s.model.hints import instead

VARIABLES = ("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
"""What docker's client needs at most, when it does not reach docker through ssh."""
KEPT = "LOCALK8S_EXISTING_"
ACTIVE = "LOCALK8S_ACTIVE_DOCKER"
"""Set while the variables are; its value is the cluster's name."""
NAMES = "LOCALK8S_DOCKER_VARIABLES"
"""Set while the variables are; their names, with commas between them."""
_PLAIN = re.compile(r"[A-Za-z0-9_./:@+,-]+")
"""What no shell splits, matches or replaces."""
_OCTAL = r"\0{:03o}"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


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
    """A variable's name and its new value."""
    copy: Callable[[str, str], str] | None
    """A variable's name, and that of the one whose value it gets; None where the shell has no way that is safe."""
    remove: Callable[[str], str]
    fail: str
    """A line that evaluates to false."""
    evaluate: str
    """How the output of a command is evaluated."""
    comment: str = "#"


def _encoded(value: str, form: str) -> str:
    """``value`` with each byte that is not plain as a number, written as ``form`` has it."""
    return "".join(chr(byte) if _PLAIN.fullmatch(chr(byte)) else form.format(byte) for byte in os.fsencode(value))


def _posix(name: str, value: str) -> str:
    if _PLAIN.fullmatch(value):
        return f"export {name}={value};"
    encoded = _encoded(value, _OCTAL)
    # The full stop keeps line ends at the end, which $(…) would drop.
    return f'export {name}="$(printf %b \'{encoded}.\')"; export {name}="${{{name}%.}}";'


def _fish(name: str, value: str) -> str:
    encoded = _encoded(value, r"\X{:02x}")
    return f"set -gx {name} {encoded};" if encoded else f"set -gx {name} '';"


def _tcsh(name: str, value: str) -> str:
    if "\n" in value:
        raise UsageError(f"tcsh cannot be given {name}: its value contains a line break.")
    if _PLAIN.fullmatch(value):
        return f"setenv {name} {value};"
    encoded = _encoded(value, _OCTAL)
    return f"setenv {name} \"`printf %b '{encoded}'`\";" if encoded else f"setenv {name} '';"


def _powershell(value: str) -> str:
    for quote in "'\u2018\u2019\u201a\u201b":  # PowerShell takes all of these for the same quote
        value = value.replace(quote, quote * 2)
    return f"'{value}'"


def _cmd(name: str, value: str) -> str:
    if any(each in value for each in '"\n\r%!'):
        raise UsageError(f"cmd cannot be given {name}: its value contains a quote, a line break, % or !.")
    return f'SET "{name}={value}"'


def _none(name: str, value: str) -> str:
    if "\n" in value or "\r" in value:
        raise UsageError(f"{name} cannot be written on one line: its value contains a line break.")
    return f"{name}={value}"


_POSIX = Dialect(
    _posix, lambda name, source: f'export {name}="${source}";', lambda name: f"unset {name};", "false;", "eval $({})"
)
DIALECTS: Mapping[Shell, Dialect] = {
    Shell.BASH: _POSIX,
    Shell.ZSH: _POSIX,
    Shell.SH: _POSIX,
    Shell.FISH: Dialect(
        _fish, lambda name, source: f'set -gx {name} "${source}";', lambda name: f"set -e {name};", "false;", "{} | source"
    ),
    Shell.TCSH: Dialect(
        _tcsh, lambda name, source: f'setenv {name} "${source}:q";', lambda name: f"unsetenv {name};", "false;", "eval `{}`"
    ),
    Shell.POWERSHELL: Dialect(
        lambda name, value: f"$Env:{name} = {_powershell(value)}",
        lambda name, source: f"$Env:{name} = $Env:{source}",
        lambda name: f"Remove-Item Env:\\{name} -ErrorAction SilentlyContinue",
        "throw 'localk8s docker-env failed'",
        "{} | Out-String | Invoke-Expression",
    ),
    Shell.CMD: Dialect(
        _cmd, None, lambda name: f'SET "{name}="', "EXIT /B 1", "@FOR /f \"tokens=*\" %i IN ('{}') DO @%i", comment="REM"
    ),
    Shell.NONE: Dialect(_none, None, lambda name: f"{name}=", "", ""),
}


def typed_line(shell: Shell, arguments: Sequence[str] = ()) -> str:
    """What a user types, so that the shell takes over what ``localk8s docker-env`` with ``arguments`` prints; may be empty."""
    return DIALECTS[shell].evaluate.format(shlex.join(["localk8s", "docker-env", *arguments]))


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
        raise UsageError(
            f'Unknown shell "{name}": choose one of {", ".join(Shell)}.', hint=instead("--shell", "bash")
        ) from None


def detect_shell(variable: str | None) -> Shell:
    """The shell that the value of SHELL names; bash where it names none that is known."""
    try:
        return parse_shell((variable or "bash").rpartition("/")[2])
    except UsageError:
        return Shell.BASH


def assignments(shell: Shell, cluster: str, wanted: Mapping[str, str], environment: Mapping[str, str]) -> str:
    """What sets ``wanted`` and keeps what was there before (the first time; again keeps what was kept).

    Args:
        shell: who evaluates it.
        cluster: its name.
        wanted: names and values; what an earlier call for another cluster set beside them is taken back.
        environment: the shell's.

    Raises:
        UsageError: this shell has no way to say a value.
    """
    dialect = DIALECTS[shell]
    lines: list[str] = []
    if shell is not Shell.NONE:
        earlier = _active(environment)
        for name in earlier:
            if name not in wanted:
                lines += _restore(dialect, name, environment)
        for name in wanted:
            if name not in earlier:
                lines += _keep(dialect, name, environment)
        lines += [dialect.assign(ACTIVE, cluster), dialect.assign(NAMES, ",".join(wanted))]
    lines += [dialect.assign(name, value) for name, value in wanted.items()]
    return "".join(f"{line}\n" for line in lines)


def removals(shell: Shell, environment: Mapping[str, str]) -> str:
    """What brings back what was there before ``assignments``; nothing where they were not evaluated."""
    dialect = DIALECTS[shell]
    if ACTIVE not in environment:
        return ""
    lines: list[str] = []
    for name in _active(environment):
        lines += _restore(dialect, name, environment)
    lines += [dialect.remove(name) for name in (ACTIVE, NAMES) if name in environment]
    return "".join(f"{line}\n" for line in lines)


def _active(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The variables that an earlier call set in this shell; those of every docker where it did not say which."""
    if ACTIVE not in environment:
        return ()
    names = [name for name in environment.get(NAMES, "").split(",") if _NAME.fullmatch(name)]
    return tuple(dict.fromkeys(names)) or VARIABLES


def _keep(dialect: Dialect, name: str, environment: Mapping[str, str]) -> list[str]:
    if name in environment:
        return [_copied(dialect, f"{KEPT}{name}", name, environment)]
    return [dialect.remove(f"{KEPT}{name}")] if f"{KEPT}{name}" in environment else []


def _restore(dialect: Dialect, name: str, environment: Mapping[str, str]) -> list[str]:
    kept = f"{KEPT}{name}"
    if kept in environment:
        return [_copied(dialect, name, kept, environment), dialect.remove(kept)]
    return [dialect.remove(name)] if name in environment else []


def _copied(dialect: Dialect, name: str, source: str, environment: Mapping[str, str]) -> str:
    return dialect.copy(name, source) if dialect.copy else dialect.assign(name, environment[source])
