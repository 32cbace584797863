"""Where a directory of the host may appear on a node. Pure; the mounting is the driver's."""

from __future__ import annotations

import posixpath

from localk8s.model.errors import UsageError

_NEEDED = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys", "/usr", "/var")
"""What a node runs from; below ``/var`` and ``/run`` only what localk8s and the kubelet keep is forbidden."""
_KEPT = ("/var/lib/containerd", "/var/lib/kubelet", "/var/lib/etcd", "/var/lib/localk8s", "/run/localk8s", "/run/containerd")
_WHOLE = ("/dev", "/etc", "/proc", "/sys", "/usr")


def split(pair: str) -> tuple[str, str]:
    """``HOST:NODE`` as its two paths; the last colon counts.

    Raises:
        UsageError: it is none.
    """
    source, colon, target = pair.rpartition(":")
    if not (source and colon and target):
        raise UsageError(f"{pair!r} is no HOST:NODE.", hint="localk8s mount .:/src")
    return source, target


def check_target(target: str) -> str:
    """``target`` in its simplest spelling.

    Raises:
        UsageError: it is no absolute path, or one that the node itself needs.
    """
    plain = "/" + posixpath.normpath(target).lstrip("/")
    if not target.startswith("/") or "\0" in target or "\n" in target or plain == "/":
        raise UsageError(f"{target!r} is no place on a node: it takes an absolute path.", hint="localk8s mount .:/src")
    inside = [place for place in (*_WHOLE, *_KEPT) if plain == place or plain.startswith(f"{place}/")]
    if inside or plain in _NEEDED or any(place.startswith(f"{plain}/") for place in _KEPT):
        raise UsageError(f"{plain} is what the node itself runs from.", hint="localk8s mount .:/src")
    return plain
