"""Where localk8s keeps things: four roots, one variable that moves them all. The only reader of LOCALK8S_HOME."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from localk8s.system.owner import Owner, sudo_owner


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

    Under sudo they are those of the user who typed it.

    ``LOCALK8S_CACHE`` moves the cache alone, so that several homes can share one.
    """
    home = environment.get("LOCALK8S_HOME")
    if home:
        base = Path(home).expanduser().absolute()
        roots = Roots(base / "config", base / "state", base / "data", base / "cache")
    else:
        owner = sudo_owner(environment)
        roots = _own() if owner is None else _of(owner, environment)
    cache = environment.get("LOCALK8S_CACHE")
    return Roots(roots.config, roots.state, roots.data, Path(cache).expanduser().absolute()) if cache else roots


def _own() -> Roots:
    own = platformdirs.PlatformDirs("localk8s", appauthor=False)
    return Roots(own.user_config_path, own.user_state_path, own.user_data_path, own.user_cache_path)


def _of(owner: Owner, environment: Mapping[str, str]) -> Roots:
    """Below that user's home; of the XDG variables those that sudo kept of that user, not root's own."""
    if sys.platform == "darwin":
        support = owner.home / "Library/Application Support/localk8s"
        return Roots(support, support, support, owner.home / "Library/Caches/localk8s")

    def place(variable: str, usual: str) -> Path:
        kept = Path(environment.get(variable) or "/")
        return (kept if kept.is_relative_to(owner.home) else owner.home / usual) / "localk8s"

    return Roots(
        place("XDG_CONFIG_HOME", ".config"),
        place("XDG_STATE_HOME", ".local/state"),
        place("XDG_DATA_HOME", ".local/share"),
        place("XDG_CACHE_HOME", ".cache"),
    )
