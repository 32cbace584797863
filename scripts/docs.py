"""Writes the generated parts of README.md and docs/commands.md from the code, or checks that they are up to date.

python scripts/docs.py            write
python scripts/docs.py --check    exit 1 when something differs
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from pathlib import Path

from localk8s.cli.app import command_names, main
from localk8s.cli.errors import exit_code_table
from localk8s.system.environment import VARIABLES

TOP = Path(__file__).resolve().parent.parent


def variable_table() -> str:
    """The environment variables as a Markdown table."""
    rows = [f"| `{name}` | {meaning} |" for name, meaning in VARIABLES.items()]
    return "\n".join(["| variable | meaning |", "| --- | --- |", *rows]) + "\n"


def help_text(*words: str) -> str:
    """What ``localk8s WORDS --help`` prints on a line of 80 characters."""
    os.environ["COLUMNS"] = "80"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        main([*words, "--help"])
    return printed.getvalue().rstrip() + "\n"


def command_reference() -> str:
    """All commands with their help, as Markdown."""
    parts = ["# Commands\n\nWritten by `make docs` from the commands themselves.\n", f"```text\n{help_text()}```\n"]
    parts += [f"## localk8s {name}\n\n```text\n{help_text(*name.split())}```\n" for name in command_names()]
    return "\n".join(parts)


def filled(text: str, section: str, content: str) -> str:
    """``text`` with what stands between the markers of ``section`` replaced by ``content``."""
    begin, end = f"<!-- {section} -->", f"<!-- /{section} -->"
    if begin not in text:
        begin = f"<!-- {section}: written by make docs -->"
    pattern = re.compile(re.escape(begin) + r".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"README.md has no section {begin} … {end}")
    return pattern.sub(lambda _: f"{begin}\n{content}{end}", text)


def works_table() -> str:
    """What works where, from the test that proves it."""
    folders = [str(TOP / "tests" / folder) for folder in ("e2e", "integration")]
    sys.path[:0] = folders
    try:
        from test_what_works_where import table
    finally:
        del sys.path[: len(folders)]
    return table()


def generated() -> dict[Path, str]:
    """Every file with generated parts, as it should be."""
    readme = (TOP / "README.md").read_text(encoding="utf-8")
    readme = filled(readme, "exit codes", exit_code_table())
    readme = filled(readme, "variables", variable_table())
    readme = filled(readme, "what works where", works_table())
    return {TOP / "README.md": readme, TOP / "docs/commands.md": command_reference()}


def run(arguments: list[str]) -> int:
    """Write, or check."""
    stale = {path: text for path, text in generated().items() if not path.exists() or path.read_text(encoding="utf-8") != text}
    if "--check" in arguments:
        for path in stale:
            sys.stderr.write(f"{path.relative_to(TOP)} is not what the code says: make docs\n")
        return 1 if stale else 0
    for path, text in stale.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
