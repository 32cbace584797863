"""Where localk8s keeps things: four roots, one variable that moves them all. The only reader of LOCALK8S_HOME."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs


@dataclass(frozen=True, slots=True)
class Roots:
    """The four directories; none is made by knowing them."""

    config: Path
    """What the user edits."""
    state: Path
    """Cluster records, locks, logs."""
    data: Path
    """What clusters are made of and must survive: node storage, rendered machines, keys."""
    cache: Path
    """Downloads and builds; may vanish at any time."""


def find_roots(environment: Mapping[str, str]) -> Roots:
    """The roots for this user: under ``LOCALK8S_HOME`` when set, otherwise where the platform keeps such things.

    ``LOCALK8S_CACHE`` moves the cache alone, so that several homes can share one.
    """
    home = environment.get("LOCALK8S_HOME")
    if home:
        base = Path(home).expanduser().absolute()
        roots = Roots(base / "config", base / "state", base / "data", base / "cache")
    else:
        own = platformdirs.PlatformDirs("localk8s", appauthor=False)
        roots = Roots(own.user_config_path, own.user_state_path, own.user_data_path, own.user_cache_path)
    cache = environment.get("LOCALK8S_CACHE")
    return Roots(roots.config, roots.state, roots.data, Path(cache).expanduser().absolute()) if cache else roots
