"""What of this Linux host a native cluster stands on: kernel features, capabilities, address ranges. Looks, changes nothing.

The judgements are pure; ``look`` reads the few files and routes that they need.
"""

from __future__ import annotations

import contextlib
import platform
import re
from collections.abc import Collection
from ipaddress import IPv4Network
from pathlib import Path

from localk8s.drivers.cluster_ranges import ranges
from localk8s.drivers.host_routes import taken_ranges
from localk8s.drivers.native.kernel_modules import KernelModules, read_modules
from localk8s.drivers.native.plan import choose_network
from localk8s.model.errors import Localk8sError
from localk8s.model.hints import instead
from localk8s.model.node import Runner
from localk8s.model.status import Finding, Severity

_CAPABILITIES = {12: "NET_ADMIN", 13: "NET_RAW", 18: "SYS_CHROOT", 19: "SYS_PTRACE", 21: "SYS_ADMIN", 27: "MKNOD"}
_SYS_RESOURCE = 24
_OLDEST = (5, 6)
_NAMESPACES = ("ipc", "mnt", "net", "pid", "uts")


def look(runner: Runner) -> tuple[Finding, ...]:
    """The findings about this host; never raises."""
    namespaces = {path.name for path in Path("/proc/self/ns").glob("*")}
    filesystems = _read("/proc/filesystems").split()
    findings = [*judge_release(platform.release()), judge_kernel(namespaces, filesystems, read_modules())]
    findings += [judge_capabilities(_read("/proc/self/status"))]
    with contextlib.suppress(Localk8sError, ValueError):  # without ``ip``: a finding of its own
        findings.append(judge_addresses(taken_ranges(runner)))
    return tuple(findings)


def judge_release(release: str) -> tuple[Finding, ...]:
    """A finding where the kernel is older than 5.6, which cannot open files of a node inside the node's root (openat2)."""
    numbers = re.match(r"(\d+)\.(\d+)", release)
    if numbers is None or tuple(map(int, numbers.groups())) >= _OLDEST:
        return ()
    message = f"The kernel is Linux {release}; native clusters need {'.'.join(map(str, _OLDEST))} or later."
    return (Finding(Severity.ERROR, "kernel", message, instead("--driver", "vagrant")),)


def judge_kernel(namespaces: Collection[str], filesystems: Collection[str], modules: KernelModules) -> Finding:
    """Whether the kernel has the namespaces and the overlay file system, if need be as a module that ``start`` loads."""
    missing = [f"{name} namespaces" for name in _NAMESPACES if name not in namespaces]
    if missing:
        return Finding(Severity.ERROR, "kernel", f"The kernel does not support {', '.join(missing)}.")
    if "overlay" not in filesystems and not modules.offers("overlay"):
        message = "The kernel does not support the overlay file system, and its module is not installed."
        return Finding(Severity.ERROR, "kernel", message, "sudo modprobe overlay")
    return Finding(Severity.OK, "kernel", "The kernel has namespaces and the overlay file system.")


def judge_capabilities(status: str) -> Finding:
    """Whether this process, if it is root, may do what root does. ``status`` is the text of ``/proc/self/status``."""
    held = next((int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:")), 0)
    missing = [name for bit, name in _CAPABILITIES.items() if not held >> bit & 1]
    if missing and held:
        message = f"This root lacks the capabilities {', '.join(missing)}: a container without privileges, perhaps."
        return Finding(Severity.ERROR, "capabilities", message, "run it in a privileged container, or on the host")
    if missing:
        return Finding(Severity.OK, "capabilities", "Capabilities are looked at once this is root.")
    note = "" if held >> _SYS_RESOURCE & 1 else " (not SYS_RESOURCE; containers are started without asking for it)"
    return Finding(Severity.OK, "capabilities", f"Every capability that is needed is held{note}.")


def judge_addresses(taken: Collection[IPv4Network]) -> Finding:
    """Whether address ranges for another cluster are left beside those that this host uses."""
    try:
        mine = choose_network(taken)
    except Localk8sError as exc:
        return Finding(Severity.ERROR, "addresses", exc.message, "ip route")
    shown = ", ".join(str(network) for network in ranges(mine))
    return Finding(Severity.OK, "addresses", f"The next cluster would use {shown}; nothing on this host does.")


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
