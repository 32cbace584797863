"""Parses what ``vagrant --machine-readable`` and ``vagrant ssh-config`` print. Pure; takes any text and never raises.

python-vagrant's own parser fails on lines it does not know, on text that is no CSV and on interleaved machines, and
does not decode Vagrant's escapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_KIND = re.compile(r"[A-Za-z][A-Za-z0-9_-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Event:
    """One line of machine-readable output."""

    target: str
    """The machine's name; empty when the line is about none."""
    kind: str
    """Such as ``state``, ``provider-name``, ``error-exit``."""
    data: tuple[str, ...]
    """The fields, decoded."""


@dataclass(frozen=True, slots=True)
class HostEntry:
    """How one machine is reached by ssh."""

    name: str
    options: tuple[tuple[str, str], ...]
    """Option and value, in order, quotes removed."""

    def get(self, option: str) -> str:
        """The first value of ``option``, in whatever case it was written; empty when it is not there."""
        wanted = option.lower()
        return next((value for name, value in self.options if name.lower() == wanted), "")


def parse_events(text: str) -> Iterator[Event]:
    """The events in ``text``; lines that are none (a banner, a ``puts`` in a Vagrantfile) are passed over."""
    for line in text.split("\n"):
        fields = line.rstrip("\r").split(",")
        if len(fields) >= 3 and fields[0].isdecimal() and _KIND.fullmatch(fields[2]):
            yield Event(decode(fields[1]), fields[2], tuple(decode(field) for field in fields[3:]))


def decode(field: str) -> str:
    """A field without Vagrant's escapes for comma, newline and carriage return."""
    return field.replace("%!(VAGRANT_COMMA)", ",").replace("\\n", "\n").replace("\\r", "\r")


def machine_states(text: str) -> Mapping[str, str]:
    """Machine -> Vagrant's word for its state, from ``vagrant status --machine-readable``."""
    return {
        event.target: event.data[0] for event in parse_events(text) if event.kind == "state" and event.target and event.data
    }


def error_reason(text: str) -> str:
    """What ``error-exit`` lines say, in one paragraph; empty when there is none."""
    return " ".join(" ".join(event.data[1:]) for event in parse_events(text) if event.kind == "error-exit").strip()


def parse_ssh_config(text: str) -> Mapping[str, HostEntry]:
    """Machine -> how it is reached, from ``vagrant ssh-config`` of any number of machines."""
    found: dict[str, list[tuple[str, str]]] = {}
    current: list[tuple[str, str]] | None = None
    for line in text.splitlines():
        option, _, value = line.strip().partition(" ")
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] == '"':
            value = value[1:-1]
        if option.lower() == "host" and value:
            current = found.setdefault(value, [])
        elif option and not option.startswith("#") and value and current is not None:
            current.append((option, value))
    return {name: HostEntry(name, tuple(options)) for name, options in found.items()}


def failed_machines(text: str) -> Mapping[str, str]:
    """Machine -> what went wrong with it, from the human summary of a parallel ``vagrant up`` that failed."""
    found: dict[str, str] = {}
    parts = re.split(r"An error occurred while executing the action on the '([^'\n]+)'\s+machine\.[^\n]*\n", text)
    for name, reason in zip(parts[1::2], parts[2::2], strict=False):
        found[name] = shorten(reason)
    return found


def shorten(text: str) -> str:
    """The paragraph of an error that tells something, on one line and not too long."""
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip()]
    telling = [part for part in paragraphs if not part.startswith(("For more information", "Any errors that occurred", "==>"))]
    chosen = (telling or paragraphs or [""])[0]
    return chosen if len(chosen) <= 300 else chosen[:297] + "..."
