"""Put each mutation of tests/mutants.toml into a copy of the tree, one at a time, and run the tests that should notice it.

    scripts/mutants.py [--jobs N] [NAME …]

Prints ``killed`` or ``SURVIVED`` for each, and how many of all; exits 1 when one survives that must not, or when the tests
fail unchanged.
"""

from __future__ import annotations

import argparse
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "tests" / "mutants.toml"
LIMIT = 300.0
"""Seconds that the tests of one mutant may take; a test that never ends has noticed, and is told apart."""
_PATIENCE = 1200.0
"""Seconds for all tests without a mutation."""
_SAID = "mutants.log"
_TREE = ("localk8s", "tests", "scripts", "docs", "examples", "pyproject.toml", "README.md", "Makefile", "Vagrantfile.j2")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one place, and the tests that should fail with it."""

    name: str
    file: str
    old: str
    new: str
    why: str
    tests: tuple[str, ...]
    must_die: bool = True


def load(data: Path = DATA) -> tuple[Mutant, ...]:
    """The mutants in ``data``."""
    found = tomllib.loads(data.read_text(encoding="utf-8"))["mutant"]
    return tuple(Mutant(**{**each, "tests": tuple(each["tests"])}) for each in found)


@contextmanager
def applied(tree: Path, mutant: Mutant) -> Iterator[None]:
    """The mutation in the copy ``tree`` for a block.

    Raises:
        ValueError: its old text does not occur exactly once.
    """
    path = tree / mutant.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        raise ValueError(f"{mutant.name}: its text occurs {text.count(mutant.old)} times in {mutant.file}")
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")


class Outcome(StrEnum):
    """What the tests of one mutant came to."""

    KILLED = "killed"
    ENDLESS = "killed (out of time)"
    SURVIVED = "SURVIVED"


def run_tests(tree: Path, tests: Sequence[str], limit: float) -> Outcome:
    """Run the tests in the copy ``tree``, for at most ``limit`` seconds."""
    argv = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    with (tree / _SAID).open("wb") as said:
        process = subprocess.Popen(argv, cwd=tree, env=environment, stdout=said, stderr=said, start_new_session=True)
    try:
        return Outcome.SURVIVED if process.wait(limit) == 0 else Outcome.KILLED
    except subprocess.TimeoutExpired:
        return Outcome.ENDLESS
    finally:
        if process.poll() is None:
            os.killpg(process.pid, 9)
            process.wait()


def copy_tree(target: Path) -> Path:
    """A copy of what the tests need."""
    for name in _TREE:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy2(source, target / name)
    return target


def run(mutants: Sequence[Mutant], jobs: int) -> list[Mutant]:
    """Judge ``mutants``, ``jobs`` at a time; returns those that survived."""
    with tempfile.TemporaryDirectory(prefix="localk8s-mutants-") as directory:
        trees: queue.Queue[Path] = queue.Queue()
        for number in range(jobs):
            trees.put(copy_tree(Path(directory) / str(number)))

        def judge(mutant: Mutant) -> Outcome:
            tree = trees.get()
            began = time.monotonic()
            try:
                with applied(tree, mutant):
                    outcome = run_tests(tree, mutant.tests, LIMIT)
            finally:
                trees.put(tree)
            may = " (it may)" if outcome is Outcome.SURVIVED and not mutant.must_die else ""
            print(f"{outcome}{may} {mutant.name} ({time.monotonic() - began:.0f} s)", flush=True)
            return outcome

        tree = trees.get()
        whole = run_tests(tree, sorted({test for mutant in mutants for test in mutant.tests}), _PATIENCE)
        trees.put(tree)
        if whole is not Outcome.SURVIVED:
            print("\n".join((tree / _SAID).read_text(errors="replace").splitlines()[-15:]), file=sys.stderr)
            sys.exit("mutants: the tests do not pass without a mutation; nothing can be said")
        with ThreadPoolExecutor(jobs) as pool:
            outcomes = list(pool.map(judge, mutants))
        return [mutant for mutant, outcome in zip(mutants, outcomes, strict=True) if outcome is Outcome.SURVIVED]


def main() -> int:
    """Judge all mutants, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="mutants (default all)")
    parser.add_argument("--jobs", type=int, default=2, help="so many at a time (default 2)")
    options = parser.parse_args()
    mutants = [mutant for mutant in load() if not options.names or mutant.name in options.names]
    if unknown := set(options.names) - {mutant.name for mutant in mutants}:
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
    survivors = run(mutants, max(1, options.jobs))
    bad = [mutant for mutant in survivors if mutant.must_die]
    print(f"{len(mutants) - len(survivors)} of {len(mutants)} mutants killed, {len(survivors)} survived")
    for mutant in bad:
        print(f"  {mutant.name} ({mutant.file}): {mutant.why}; not noticed by {' '.join(mutant.tests)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
