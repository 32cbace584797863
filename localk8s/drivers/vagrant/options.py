"""The options that only this driver has: what is allowed, and which provider a host would use. Looks, changes nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from localk8s.drivers.vagrant.providers import PROVIDERS, Provider, find_provider
from localk8s.model.errors import PrerequisiteError, UsageError
from localk8s.model.hints import host_command, instead

KNOWN = ("box", "box-version", "cni", "cni-manifest", "emulate", "provider")


class PodNetwork(StrEnum):
    """Who connects pods of different machines."""

    BRIDGE = "bridge"
    """Routes between the machines; needs no image. The default."""
    FLANNEL = "flannel"
    CALICO = "calico"
    NONE = "none"
    """The user brings one; machines are not Ready before."""

    @property
    def foreign(self) -> bool:
        """Whether others make it: its manifest is the user's, its images come from a registry."""
        return self in (PodNetwork.FLANNEL, PodNetwork.CALICO)


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for, checked."""

    provider: Provider
    box: str = ""
    """A box of the user's; empty for the one built here, or the stock box."""
    box_version: str = ""
    cni: PodNetwork = PodNetwork.BRIDGE
    emulate: bool = False
    """Never ask the processor for help with virtual machines (KVM)."""
    cni_manifest: str = ""
    """Path of the manifest of a pod network that others make."""

    @property
    def builds_box(self) -> bool:
        """Whether machines are made from a box built here."""
        return not self.box and self.provider.builds_box


def read_options(options: Mapping[str, str]) -> Options:
    """The options of a spec.

    Raises:
        UsageError: one is unknown, or has a value that it cannot have.
        PrerequisiteError: no provider was named and this host has none.
    """
    for key in options:
        if key not in KNOWN:
            raise UsageError(
                f"The vagrant driver has no option {key!r}: it has {', '.join(KNOWN)}.",
                hint=host_command("start", "--help"),
            )
    emulate = options.get("emulate", "no")
    if emulate not in ("yes", "no"):
        raise UsageError(f"emulate={emulate!r} is neither yes nor no.", hint=instead("emulate=yes", of=f"emulate={emulate}"))
    if options.get("box-version") and not options.get("box"):
        raise UsageError("box-version without box says nothing.", hint="add --driver-option box=bento/debian-12")
    try:
        cni = PodNetwork(options.get("cni", PodNetwork.BRIDGE.value))
    except ValueError:
        known = ", ".join(PodNetwork)
        raise UsageError(
            f"{options['cni']!r} is no pod network that localk8s knows: there are {known}.",
            hint=instead("--cni", "bridge"),
        ) from None
    manifest = options.get("cni-manifest", "")
    if manifest and not cni.foreign:
        raise UsageError(
            f"cni-manifest goes with flannel or calico, not with {cni.value}.",
            hint=instead("--cni", "flannel"),
        )
    name = options.get("provider") or detect_provider()
    box, version = options.get("box", ""), options.get("box-version", "")
    return Options(find_provider(name), box, version, cni, emulate == "yes", manifest)


def detect_provider(platform: str | None = None) -> str:
    """The first provider that this host can use: its program is here, and its service runs if it has one.

    Where no service runs, the first whose program is here: ``check`` says what is missing.

    Args:
        platform: as ``sys.platform`` spells it; this host's when None.

    Raises:
        PrerequisiteError: there is none.
    """
    import sys

    platform = platform or sys.platform
    there = [each for each in PROVIDERS.values() if platform in each.platforms and shutil.which(each.program)]
    if not there:
        raise PrerequisiteError(
            "No machine provider that Vagrant could use is installed on this host.",
            hint=host_command("setup", "--driver", "vagrant"),
        )
    return next((each for each in there if has_service(each)), there[0]).name


def has_service(provider: Provider) -> bool:
    """Whether the service that makes the provider's machines is there, or it needs none, or the user named one elsewhere."""
    elsewhere = "LIBVIRT_DEFAULT_URI" in os.environ
    return elsewhere or not provider.sockets or any(Path(socket).is_socket() for socket in provider.sockets)
