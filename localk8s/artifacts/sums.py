"""Digest files as ``sha256sum`` writes them: a whole list (SHA256SUMS) or one beside its file (``.sha256``)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from localk8s.model.errors import ArtifactError

SUMS = "SHA256SUMS"
LONGEST_SUMS = 16 << 20
"""Bytes of a digest file; that of a bundle with all node tools has 1 MiB."""


def read_digest_file(path: Path) -> str:
    """The text of a digest file.

    Raises:
        ArtifactError: it is too large to be one, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST_SUMS + 1)
    except OSError as exc:
        raise ArtifactError(f"{path} cannot be read: {exc.strerror}.") from exc
    if len(data) > LONGEST_SUMS:
        raise ArtifactError(f"{path} has more than {LONGEST_SUMS >> 20} MiB: it is not a list of digests.")
    return data.decode("utf-8", errors="replace")


def parse_digest(text: str) -> str | None:
    """The SHA-256 in a ``.sha256`` file (alone, or followed by a file name); None when there is none."""
    match = re.fullmatch(r"\s*([0-9A-Fa-f]{64})(?:\s.*)?\s*", text, re.DOTALL)
    return match[1].lower() if match else None


def parse_sums(text: str) -> dict[str, str]:
    """File name to digest; lines that are none are passed over."""
    found = {}
    for line in text.splitlines():
        if match := re.fullmatch(r"([0-9A-Fa-f]{64})[ \t]+\*?(.+)", line.strip()):
            found[os.path.normpath(match[2])] = match[1].lower()
    return found


def render_sums(digests: Mapping[str, str]) -> str:
    """The list for ``sha256sum -c``, sorted by name."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
