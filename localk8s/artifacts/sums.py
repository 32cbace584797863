"""Digest files as ``sha256sum`` writes them: a whole list (SHA256SUMS) or one beside its file (``.sha256``). Pure."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

SUMS = "SHA256SUMS"


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
