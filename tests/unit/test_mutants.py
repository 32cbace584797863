"""The list of mutants does not rot: each old text is there exactly once, each new one differs, each test file exists."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from mutants import Mutant, applied, load  # noqa: E402

MUTANTS = load()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_fits_the_tree(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    assert text.count(mutant.old) == 1, f"make its text in tests/mutants.toml what {mutant.file} has today"
    assert mutant.new != mutant.old
    assert mutant.why and all((ROOT / test).is_file() for test in mutant.tests) and mutant.tests
    if mutant.file.endswith(".py"):
        compile(text.replace(mutant.old, mutant.new), mutant.file, "exec")


def test_there_are_enough_and_each_has_a_name_of_its_own() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 40


def test_a_mutation_is_taken_back(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("one two\n")
    mutant = Mutant("m", "f", "two", "three", "why", ())
    with applied(tmp_path, mutant):
        assert (tmp_path / "f").read_text() == "one three\n"
    assert (tmp_path / "f").read_text() == "one two\n"
    with pytest.raises(ValueError, match="occurs 0 times"), applied(tmp_path, Mutant("m", "f", "x", "y", "", ())):
        pass
