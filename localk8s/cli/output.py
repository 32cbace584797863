"""Where results go: standard output, as a table, JSON, YAML or names. Must not know what the results mean."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from localk8s.model.errors import ConfigError, UsageError
from localk8s.model.hints import instead

API_VERSION = "localk8s.dev/v1alpha1"


class Format(StrEnum):
    """What ``-o`` takes."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


class PipeClosed(Exception):  # noqa: N818 - not an error of the program
    """Whoever read standard output has had enough."""


def choose_format(option: str | None, variable: str | None) -> Format:
    """The format asked for by ``-o``, else by LOCALK8S_OUTPUT, else a table.

    Raises:
        UsageError: ``-o`` is none.
        ConfigError: the variable is none.
    """
    known = ", ".join(Format)
    try:
        return Format(option or variable or Format.TABLE)
    except ValueError:
        if option:
            raise UsageError(f"{option!r} is no output format: {known}.", hint=instead("-o", "json")) from None
        raise ConfigError(f"LOCALK8S_OUTPUT={variable!r} is no output format: {known}.", hint="unset LOCALK8S_OUTPUT") from None


def document(kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """``content`` with apiVersion and kind in front."""
    return {"apiVersion": API_VERSION, "kind": kind, **content}


def write(text: str) -> None:
    """Write ``text`` and a line's end to standard output."""
    try:
        sys.stdout.write(text if text.endswith("\n") or not text else f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError as exc:
        raise PipeClosed from exc  # as it is, typer would call it a failure


def write_line(content: Mapping[str, Any]) -> None:
    """Write one JSON document in one line."""
    write(json.dumps(content, ensure_ascii=False))


def show(format_: Format, *, table: str, content: Mapping[str, Any], names: Sequence[str]) -> None:
    """Write a result in the format asked for.

    Args:
        format_: which.
        table: for people.
        content: a document with apiVersion and kind.
        names: one bare name a line.
    """
    if format_ is Format.JSON:
        write(json.dumps(content, indent=2, ensure_ascii=False))
    elif format_ is Format.YAML:
        import yaml

        write(yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=4096))
    elif format_ is Format.NAME:
        write("".join(f"{name}\n" for name in names))
    else:
        write(table)


def line_width() -> int:
    """Characters in a line of the terminal; 100 where there is none."""
    import shutil

    return shutil.get_terminal_size((100, 24)).columns


def columns(rows: Iterable[Sequence[str]], indent: str = "") -> str:
    """Rows of cells as aligned lines; empty cells at a row's end leave no blanks."""
    kept = [list(row) for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*kept, strict=True)]
    lines = ("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in kept)
    return "".join(f"{indent}{line}\n" for line in lines)
