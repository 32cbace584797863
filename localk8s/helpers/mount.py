"""Where a directory of the host may appear on a node, and what is mounted there. Pure; the mounting is the driver's."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from localk8s.model.errors import UsageError
from localk8s.model.hints import instead

_NEEDED = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys", "/usr", "/var")
"""What a node runs from; below ``/var`` and ``/run`` only what localk8s and the kubelet keep is forbidden."""
_KEPT = ("/var/lib/containerd", "/var/lib/kubelet", "/var/lib/etcd", "/var/lib/localk8s", "/run/localk8s", "/run/containerd")
_WHOLE = ("/dev", "/etc", "/proc", "/sys", "/usr")


@dataclass(frozen=True, slots=True, order=True)
class Mount:
    """A directory of this host on a node."""

    node: str
    source: str
    """The directory here."""
    target: str
    """Where it is on the node."""


def encode(mounts: Sequence[Mount]) -> str:
    """Mounts as they are kept in a file."""
    return json.dumps([asdict(each) for each in sorted(mounts)], indent=1) + "\n"


def decode(text: str) -> tuple[Mount, ...]:
    """What ``encode`` wrote; none for what cannot be read: what is mounted is the kernel's to say."""
    try:
        return tuple(Mount(str(each["node"]), str(each["source"]), str(each["target"])) for each in json.loads(text))
    except (ValueError, KeyError, TypeError):
        return ()


def mount_points(mountinfo: str) -> tuple[str, ...]:
    """Where something is mounted, once for each mount, from ``/proc/self/mountinfo`` (proc_pid_mountinfo(5))."""
    places = [fields[4] for line in mountinfo.splitlines() if len(fields := line.split(" ")) > 5]
    return tuple(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), place) for place in places)


def split(pair: str) -> tuple[str, str]:
    """``HOST:NODE`` as its two paths; the last colon counts.

    Raises:
        UsageError: it is none.
    """
    source, colon, target = pair.rpartition(":")
    if not (source and colon and target):
        raise UsageError(f"{pair!r} is no HOST:NODE.", hint=instead(".:/src", of=pair))
    return source, target


def check_target(target: str) -> str:
    """``target`` in its simplest spelling.

    Raises:
        UsageError: it is no absolute path, or one that the node itself needs.
    """
    plain = "/" + posixpath.normpath(target).lstrip("/")
    if not target.startswith("/") or "\0" in target or "\n" in target or plain == "/":
        raise UsageError(f"{target!r} is no place on a node: it takes an absolute path.", hint="an absolute path, such as /src")
    inside = [place for place in (*_WHOLE, *_KEPT) if plain == place or plain.startswith(f"{place}/")]
    if inside or plain in _NEEDED or any(place.startswith(f"{plain}/") for place in _KEPT):
        raise UsageError(f"{plain} is what the node itself runs from.", hint="an absolute path, such as /src")
    return plain
