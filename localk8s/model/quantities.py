"""Sizes as people write them (8096, 30g, 2GiB, 1.5) and as Kubernetes and people read them. Pure."""

from __future__ import annotations

import re
from decimal import Decimal

from localk8s.model.errors import UsageError
from localk8s.model.hints import instead

KIB, MIB, GIB, TIB = 1024, 1024**2, 1024**3, 1024**4
_SIZE = re.compile(r"(?P<number>\d{1,15}(\.\d{1,6})?)\s*(?P<unit>[kmgt]?)(?P<tail>i?b)?", re.IGNORECASE | re.ASCII)
_FACTOR = {"": MIB, "k": KIB, "m": MIB, "g": GIB, "t": TIB}
_MOST = 1024**5


def parse_size(text: str, *, what: str = "size") -> int:
    """Bytes meant by ``text``, whole MiB; a bare number is MiB, as minikube has it; units are binary (g = GiB).

    Every driver takes whole MiB, so what is less than one is dropped here, for all of them alike.

    Args:
        text: ``8096``, ``512m``, ``30g``, ``2GiB``, ``1.5G``.
        what: the option's name for the error, such as ``--memory``.

    Raises:
        UsageError: it is no size, less than a MiB, or beyond a pebibyte.
    """
    match = _SIZE.fullmatch(text.strip())
    if not match or (not match["unit"] and match["tail"]):
        raise UsageError(f"{text!r} is no {what}: give a number and a unit.", hint=instead(what, "2g"))
    size = int(Decimal(match["number"]) * _FACTOR[match["unit"].lower()]) // MIB * MIB
    if not 0 < size <= _MOST:
        raise UsageError(
            f"{text!r} is no usable {what}: it must be at least 1 MiB and at most 1024 TiB.", hint=instead(what, "2g")
        )
    return size


def format_size(size: int) -> str:
    """``size`` bytes for people: ``2.0 GiB``, ``512 MiB``."""
    if size >= TIB:
        return f"{size / TIB:.1f} TiB"
    if size >= GIB:
        return f"{size / GIB:.1f} GiB"
    if size >= MIB:
        return f"{size // MIB} MiB"
    return f"{size // KIB} KiB" if size >= KIB else f"{size} B"


def format_change(before: int | None, after: int | None) -> tuple[str, str]:
    """Two sizes in bytes for people, precise enough that two that differ look different: ``2.0 GiB``, or ``2050 MiB``.

    None is "unbounded".
    """
    if before is None or after is None or before == after:
        return _size_or_none(before), _size_or_none(after)
    shown = format_size(before), format_size(after)
    for unit, name in ((MIB, "MiB"), (KIB, "KiB"), (1, "B")):
        if shown[0] == shown[1]:
            shown = f"{before // unit} {name}", f"{after // unit} {name}"
    return shown


def _size_or_none(size: int | None) -> str:
    return "unbounded" if size is None else format_size(size)


def size_argument(size: int) -> str:
    """``size`` bytes as an option takes it, exact: ``2g``, ``512m``, ``3k`` (rounded up to a KiB)."""
    for factor, unit in ((GIB, "g"), (MIB, "m")):
        if size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{-(-size // KIB)}k"


def parse_cpus(text: str, *, what: str = "--cpus") -> Decimal:
    """CPUs meant by ``text``: ``2``, ``0.5``; at least 0.1, at most 1024, to a thousandth.

    Raises:
        UsageError: it is no such number.
    """
    if not re.fullmatch(r"\d{1,4}(\.\d{1,3})?", text.strip(), re.ASCII):
        raise UsageError(f"{text!r} is no number of CPUs.", hint=instead(what, "2"))
    cpus = Decimal(text.strip())
    if not Decimal("0.1") <= cpus <= 1024:
        raise UsageError(f"{text!r} is no usable number of CPUs: from 0.1 to 1024.", hint=instead(what, "2"))
    return cpus


def parse_kubernetes_quantity(text: str) -> Decimal:
    """The number that a Kubernetes quantity (``500m``, ``2038928Ki``, ``1e3``, ``2G``) stands for.

    Raises:
        ValueError: it is no quantity.
    """
    match = re.fullmatch(r"([+-]?[\d.]+(?:[eE][+-]?\d+)?)([numkMGTPE]i?|Ki)?", text)
    if not match:
        raise ValueError(f"{text!r} is no Kubernetes quantity")
    number, unit = Decimal(match[1]), match[2] or ""
    if unit.endswith("i"):
        return number * Decimal(1024 ** ("KMGTPE".index(unit[0]) + 1))
    scale = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}[unit]
    return number.scaleb(scale)
