"""Which of the host's package sources are Debian's own, in both formats that apt reads. Pure: text in, text out."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AptSource:
    """One archive and its suites, as a deb822 stanza says it."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str
    """A keyring's path, or a whole key; empty when apt's trusted keys are meant."""


_RELEASES = frozenset(
    {"bullseye", "bookworm", "trixie", "forky", "duke", "sid", "unstable", "testing", "stable", "oldstable", "oldoldstable"}
)
"""How a source may call Debian's releases (https://www.debian.org/releases/)."""
_ROLLING = frozenset({"sid", "unstable", "experimental"})
_PARTS = ("", "-updates", "-security", "/updates")


def debian_sources(files: Mapping[str, str], suite: str) -> tuple[AptSource, ...]:
    """The sources among ``files`` that hold the main component of the Debian suite ``suite``.

    A host whose sources name another release of Debian has this one in the same archives.

    Args:
        files: file name to content; a name that ends in ``.sources`` is deb822, any other the one-line format.
        suite: ``bookworm``.

    Options that weaken signature checks (``trusted=yes``) are dropped, so that apt refuses what is not signed.
    """
    candidates = [
        source
        for name, text in files.items()
        for source in (_from_stanzas(text) if name.endswith(".sources") else _from_lines(text))
        if source.uris and "main" in source.components
    ]
    own = _of_suite(candidates, suite, {suite})
    if any(suite in source.suites for source in own):
        return own
    return _of_suite(candidates, suite, _RELEASES | {suite})


def _of_suite(candidates: Iterable[AptSource], suite: str, releases: Collection[str]) -> tuple[AptSource, ...]:
    """The ``candidates`` for one of ``releases``, each with ``suite`` in its place."""
    found: list[AptSource] = []
    for source in candidates:
        suites = tuple(dict.fromkeys(_in_place(name, suite, releases) for name in source.suites))
        kept = AptSource(source.uris, tuple(name for name in suites if name), ("main",), source.signed_by)
        if kept.suites and kept not in found:
            found.append(kept)
    return tuple(found)


def _in_place(name: str, suite: str, releases: Collection[str]) -> str:
    """``suite``, or the part of it that ``name`` is of one of ``releases``; empty when it is of none."""
    for part in _PARTS:
        if name.removesuffix(part) in releases and name.endswith(part):
            kept = part if name.removesuffix(part) == suite else part.replace("/updates", "-security")
            return "" if kept and suite in _ROLLING else f"{suite}{kept}"
    return ""


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
