"""A node that runs nothing but answers as it was told."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from localk8s.model.errors import CommandError, NotFoundError
from localk8s.model.node import Completed, Input
from localk8s.model.status import NodeRole


@dataclass
class FakeNode:
    """A ``Node`` without a machine.

    It knows ``true``, ``hostname``, ``echo WORDS`` and ``exit CODE``; every other command is an error, so that a test
    never passes because of a command that nobody meant.
    """

    name: str
    role: NodeRole = NodeRole.CONTROL_PLANE
    address: str = "192.0.2.10"
    files: dict[str, bytes] = field(default_factory=dict)

    def run(
        self,
        argv: Sequence[str],
        *,
        input: Input | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        check: bool = True,
    ) -> Completed:
        """Answer; see ``Runner.run``."""
        code, stdout = self._answer(tuple(argv))
        if check and code:
            raise CommandError(argv, code, stdout)
        return Completed(tuple(argv), code, stdout, "")

    def _answer(self, argv: tuple[str, ...]) -> tuple[int, str]:
        match argv:
            case ("true",):
                return 0, ""
            case ("hostname",):
                return 0, f"{self.name}\n"
            case ("echo", *words):
                return 0, " ".join(words) + "\n"
            case ("exit", code):
                return int(code), ""
        raise CommandError(argv, None, message=f"{argv[0] if argv else 'nothing'} cannot be run on the fake node.")

    def copy_in(self, source: Path, target: str, *, mode: int = 0o644) -> None:
        """Keep the file's content."""
        if not source.is_file():
            raise NotFoundError(f"{source} is not there.")
        self.files[target] = source.read_bytes()

    def copy_out(self, source: str, target: Path) -> None:
        """Write what was kept."""
        if source not in self.files:
            raise NotFoundError(f"{source} is not on {self.name}.")
        target.write_bytes(self.files[source])

    def write(self, target: str, content: str | bytes, *, mode: int = 0o644) -> None:
        """Keep the content."""
        self.files[target] = content.encode() if isinstance(content, str) else content

    def shell(self, argv: Sequence[str] = ()) -> int:
        """Answer on this process's standard output."""
        code, stdout = self._answer(tuple(argv) or ("hostname",))
        sys.stdout.write(stdout)
        sys.stdout.flush()
        return code
