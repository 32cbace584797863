"""What a driver offers whose nodes' runtime is reached through a tool of its own: images by that tool's words.

Owns the contract only. It may be weaker than asking each node: such tools take all nodes together, and what they did has
to be looked at again. Beside ``base``, which says which drivers have it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class RuntimeImage:
    """An image as the tool lists it."""

    id: str
    """``sha256:`` and 64 hexadecimal digits."""
    names: tuple[str, ...]
    """As the runtime spells them; none for one that lost its name."""
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class ImageBuild:
    """What is to be built."""

    context: Path
    """A directory of this host with a Dockerfile in it."""
    name: str
    """The new image's name."""
    file: str = ""
    """Another Dockerfile; empty for the usual one."""
    arguments: tuple[str, ...] = ()
    """``NAME=VALUE`` of ARG instructions."""


class ImageTool(Protocol):
    """The images of all running nodes together.

    Every method raises ``WrongStateError`` when the cluster does not run, and ``CommandError`` when something was not done,
    whatever the tool's exit code said.
    """

    def images(self) -> tuple[RuntimeImage, ...]:
        """What is there, by id."""

    def load(self, archive: Path, names: Sequence[str]) -> None:
        """Load an uncompressed archive onto every node.

        Args:
            archive: docker's or OCI's, with names in it.
            names: the full ones in it.
        """

    def save(self, name: str, target: Path) -> None:
        """Write an archive of one image that is there into the file ``target``, which is not there yet."""

    def remove(self, name: str) -> None:
        """Remove an image that is there from every node."""

    def pull(self, name: str) -> None:
        """Let every node fetch an image."""

    def tag(self, source: str, target: str) -> None:
        """Give an image that is there another name."""

    def build(self, wanted: ImageBuild, on_line: Callable[[str], None]) -> None:
        """Build an image on every node; ``on_line`` is called with each line that the build prints."""
