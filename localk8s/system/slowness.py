"""How much slower than usual this host's processors are: measured when a time limit runs out. A quick host pays nothing.

An emulated processor (a virtual machine without KVM, another architecture's container) takes ten times as long for
everything. Limits are set for real processors; what is slow on such a host is not stuck.
"""

from __future__ import annotations

import time

_USUAL = 0.001
"""Seconds that the loop takes on a processor of 2015 or later (measured: 0.8 ms; 9 to 11 ms under QEMU's TCG beside it)."""
_ROUNDS = 20_000
_MAX_FACTOR = 16.0
_NOTABLE = 2.0
"""Below it, the difference is that of one real processor to another."""


def measure_slowness() -> float:
    """By how much a limit is to be stretched here: 1.0 on a usual processor, at most 16. Takes a few milliseconds."""
    factor = min(_time_loop() for _ in range(3)) / _USUAL
    return min(factor, _MAX_FACTOR) if factor >= _NOTABLE else 1.0


def _time_loop() -> float:
    begin, total = time.perf_counter(), 0
    for number in range(_ROUNDS):
        total += number * number
    return time.perf_counter() - begin
