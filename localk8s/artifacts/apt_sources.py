"""Which of the host's package sources are Debian's own, in both formats that apt reads. Pure: text in, text out."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AptSource:
    """One archive and its suites, as a deb822 stanza says it."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str
    """A keyring's path, or a whole key; empty when apt's trusted keys are meant."""


def debian_sources(files: Mapping[str, str], codename: str) -> tuple[AptSource, ...]:
    """The sources among ``files`` that hold the main component of the Debian release ``codename``.

    Args:
        files: file name to content; a name that ends in ``.sources`` is deb822, any other the one-line format.
        codename: ``bookworm``.

    Options that weaken signature checks (``trusted=yes``) are dropped, so that apt refuses what is not signed.
    """
    found: list[AptSource] = []
    for name, text in files.items():
        candidates = _from_stanzas(text) if name.endswith(".sources") else _from_lines(text)
        for source in candidates:
            suites = tuple(suite for suite in source.suites if _is_debian_suite(suite, codename))
            kept = AptSource(source.uris, suites, ("main",), source.signed_by)
            if suites and source.uris and "main" in source.components and kept not in found:
                found.append(kept)
    return tuple(found)


def render_sources(sources: Iterable[AptSource]) -> str:
    """A deb822 file with binary and source packages of ``sources``."""
    return "\n".join(_render(source) for source in sources)


def _render(source: AptSource) -> str:
    lines = [
        "Types: deb deb-src",
        f"URIs: {' '.join(source.uris)}",
        f"Suites: {' '.join(source.suites)}",
        f"Components: {' '.join(source.components)}",
    ]
    if source.signed_by:
        first, *more = source.signed_by.split("\n")
        lines += [f"Signed-By: {first}".rstrip(), *more]
    return "\n".join(lines) + "\n"


def _is_debian_suite(suite: str, codename: str) -> bool:
    return suite in {codename, f"{codename}-updates", f"{codename}-security", f"{codename}/updates"}


def _from_lines(text: str) -> list[AptSource]:
    found = []
    for line in text.splitlines():
        match = re.fullmatch(r"\s*deb(?:-src)?\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s+([^#]+?)\s*(?:#.*)?", line)
        if match:
            options, uri, suite, components = match.groups()
            found.append(AptSource((uri,), (suite,), tuple(components.split()), _option(options or "", "signed-by")))
    return found


def _option(options: str, name: str) -> str:
    for part in shlex.split(options, posix=True) if _splittable(options) else options.split():
        key, _, value = part.partition("=")
        if key.lower() == name:
            return value
    return ""


def _splittable(options: str) -> bool:
    try:
        shlex.split(options)
    except ValueError:
        return False
    return True


def _from_stanzas(text: str) -> list[AptSource]:
    found = []
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n[ \t]*\n", kept):
        fields = _fields(stanza)
        words = {key: tuple(value.split()) for key, value in fields.items()}
        if fields.get("enabled", "yes").strip().lower() in {"no", "false", "off", "0"} or "deb" not in words.get("types", ()):
            continue
        found.append(
            AptSource(words.get("uris", ()), words.get("suites", ()), words.get("components", ()), fields.get("signed-by", ""))
        )
    return found


def _fields(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    last = ""
    for line in stanza.splitlines():
        if line[:1] in (" ", "\t"):
            if last:
                fields[last] += "\n" + line.rstrip()
        elif ":" in line:
            last, _, value = line.partition(":")
            last = last.strip().lower()
            fields[last] = value.strip()
    return fields
