"""The shell script that becomes a supervised program, whatever supervises it. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence


def service_script(
    argv: Sequence[str],
    environment: Mapping[str, str],
    prepare: Sequence[str] = (),
    *,
    before: Sequence[str] = (),
    tail: str = "",
) -> str:
    """A script that ends as the program, its complaints on standard output.

    Args:
        argv: the program and its arguments.
        environment: variables for it and for ``prepare``.
        prepare: shell lines that run before it.
        before: shell lines that run first, without the variables.
        tail: shell text that is put behind ``argv``.
    """
    exports = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    return "\n".join(["#!/bin/sh", "exec 2>&1", *before, *exports, *prepare, f"exec {shlex.join(argv)}{tail}"]) + "\n"
