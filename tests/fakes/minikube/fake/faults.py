"""What goes wrong, where the scenario says so.

``{"start": "kubeadm"}`` gives every start that fault; a list gives the first call its first item, and so on (the last
stays). The faults of a command stand beside what it does; these are common to all: ``hang`` never ends, ``exit N`` says
nothing and ends with N, ``panic`` is a Go panic, ``deaf`` hangs and ignores SIGTERM.
"""

from __future__ import annotations

import signal
import sys
import time

from fake.out import panic
from fake.world import World, load, save


def fault(world: World, command: str) -> str:
    """The fault of this call; empty for none. Handles the common ones itself."""
    wanted = world.scenario.get(command, "")
    if isinstance(wanted, list):
        counts = load(world.root / "counts.json") or {}
        number = counts.get(command, 0)
        save(world.root / "counts.json", {**counts, command: number + 1})
        wanted = wanted[min(number, len(wanted) - 1)] if wanted else ""
    text = str(wanted)
    if text == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(120)
    if text == "hang":
        time.sleep(600)
    if text == "panic":
        panic()
    if text.startswith("exit "):
        sys.exit(int(text.split()[1]))
    return text
