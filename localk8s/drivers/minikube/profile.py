"""What minikube keeps on disk about a profile: where, and what stands in it. Reads; must not change any of it.

The configuration is the same whether it comes from ``profiles/NAME/config.json`` or from ``profile list -o json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localk8s.model.errors import WrongStateError


@dataclass(frozen=True, slots=True)
class Home:
    """A home folder of minikube's. Knowing it makes nothing.

    Args:
        root: the folder that holds ``profiles``, ``machines`` and ``cache``.
    """

    root: Path

    @property
    def profiles(self) -> Path:
        """One folder a profile."""
        return self.root / "profiles"

    @property
    def config_file(self) -> Path:
        """What ``minikube config set`` wrote."""
        return self.root / "config" / "config.json"

    @property
    def cache(self) -> Path:
        """Downloads that all profiles share."""
        return self.root / "cache"

    def profile(self, name: str) -> Path:
        """The folder of one profile."""
        return self.profiles / name

    def machine(self, name: str) -> Path:
        """The folder of one machine: its key and how to reach it."""
        return self.root / "machines" / name

    def profile_names(self) -> Sequence[str]:
        """The names of all profiles that have a folder, sorted; none when there is no home."""
        try:
            return sorted(path.name for path in self.profiles.iterdir() if path.is_dir())
        except OSError:
            return ()


def find_home(environment: Mapping[str, str], setting: str = "") -> Home:
    """Where minikube keeps its things.

    Args:
        environment: ``MINIKUBE_HOME`` may name the folder, or its parent.
        setting: the same from localk8s's configuration, which wins.
    """
    named = setting or environment.get("MINIKUBE_HOME", "")
    if not named:
        return Home(Path.home() / ".minikube")
    path = Path(named).expanduser().absolute()
    return Home(path if path.name == ".minikube" else path / ".minikube")


@dataclass(frozen=True, slots=True)
class ProfileNode:
    """One node as the profile records it."""

    name: str
    """``m02``; empty for the first."""
    address: str
    """Saved when the node was made: it need not be live."""
    port: int
    """Of the API server; 0 for a worker."""
    control_plane: bool


@dataclass(frozen=True, slots=True)
class ProfileConfig:
    """A profile as minikube recorded it when it was made."""

    name: str
    driver: str
    memory: int
    """MiB; 0 is "no limit"."""
    cpus: int
    disk: int
    """MiB."""
    kubernetes_version: str
    runtime: str
    cni: str
    image_repository: str
    registry_mirrors: tuple[str, ...]
    insecure_registries: tuple[str, ...]
    binary_mirror: str
    static_ip: str
    ssh_address: str
    nodes: tuple[ProfileNode, ...]

    def machine_name(self, node: ProfileNode) -> str:
        """The machine's name: the profile's, with the node's own behind it when it has one and is not alone."""
        return self.name if not node.name or len(self.nodes) == 1 else f"{self.name}-{node.name}"

    @property
    def machine_names(self) -> tuple[str, ...]:
        """The machines' names, in the order of the nodes."""
        return tuple(self.machine_name(node) for node in self.nodes)

    @property
    def has_started(self) -> bool:
        """Whether its first node ever got as far as having an address."""
        return bool(self.nodes) and bool(self.nodes[0].address)


def load_profile(home: Home, name: str) -> ProfileConfig | None:
    """The configuration of profile ``name``; None when there is none.

    Raises:
        WrongStateError: it cannot be understood.
    """
    path = home.profile(name) / "config.json"
    try:
        return parse_config(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, AttributeError) as exc:
        raise WrongStateError(
            f"minikube's record of profile {name!r} cannot be read ({path}).",
            hint=f"minikube delete -p {name}",
            details=str(exc),
        ) from exc


def parse_config(content: Any) -> ProfileConfig:
    """A profile's configuration from its JSON.

    Raises:
        TypeError, ValueError, AttributeError: it is none.
    """
    if not isinstance(content, Mapping):
        raise TypeError("the configuration is no object")
    kubernetes = content.get("KubernetesConfig") or {}
    return ProfileConfig(
        name=str(content.get("Name") or ""),
        driver=str(content.get("Driver") or ""),
        memory=int(content.get("Memory") or 0),
        cpus=int(content.get("CPUs") or 0),
        disk=int(content.get("DiskSize") or 0),
        kubernetes_version=str(kubernetes.get("KubernetesVersion") or ""),
        runtime=str(kubernetes.get("ContainerRuntime") or ""),
        cni=str(kubernetes.get("CNI") or ""),
        image_repository=str(kubernetes.get("ImageRepository") or ""),
        registry_mirrors=_words(content.get("RegistryMirror")),
        insecure_registries=_words(content.get("InsecureRegistry")),
        binary_mirror=str(content.get("BinaryMirror") or ""),
        static_ip=str(content.get("StaticIP") or ""),
        ssh_address=str(content.get("SSHIPAddress") or ""),
        nodes=tuple(_node(node) for node in content.get("Nodes") or ()),
    )


def _node(node: Mapping[str, Any]) -> ProfileNode:
    return ProfileNode(
        name=str(node.get("Name") or ""),
        address=str(node.get("IP") or ""),
        port=int(node.get("Port") or 0),
        control_plane=node.get("ControlPlane") is True,
    )


def _words(value: Sequence[Any] | None) -> tuple[str, ...]:
    return tuple(str(item) for item in value or ())


@dataclass(frozen=True, slots=True)
class ListedProfile:
    """One profile in ``profile list -o json``."""

    name: str
    status: str
    """minikube's word; empty when it could not find out, ``Skipped`` when it was not asked to."""
    valid: bool
    config: ProfileConfig | None


def parse_profile_list(stdout: str) -> tuple[ListedProfile, ...] | None:
    """The profiles in ``stdout``; None when it holds an error instead (a kubeconfig that is no YAML is enough)."""
    try:
        content = json.loads(stdout)
        if "valid" not in content or "invalid" not in content:
            return None
        pairs = [(item, valid) for valid, key in ((True, "valid"), (False, "invalid")) for item in content[key] or ()]
        return tuple(_listed(item, valid) for item, valid in pairs)
    except (ValueError, TypeError, AttributeError, KeyError):
        return None


def _listed(item: Mapping[str, Any], valid: bool) -> ListedProfile:
    config = item.get("Config")
    return ListedProfile(
        name=str(item["Name"]),
        status=str(item.get("Status") or ""),
        valid=valid,
        config=None if config is None else parse_config(config),
    )


def current_profile(home: Home) -> str:
    """The profile that the user's own minikube commands mean; empty when none was chosen."""
    try:
        content = json.loads(home.config_file.read_text(encoding="utf-8"))
        return str(content.get("profile") or "")
    except (OSError, ValueError, AttributeError):
        return ""


def other_machines(home: Home, profile: str) -> Mapping[str, str]:
    """The machine names of all other profiles, each with its profile; profiles that cannot be read are passed over."""
    found: dict[str, str] = {}
    for name in home.profile_names():
        if name == profile:
            continue
        try:
            config = load_profile(home, name)
        except WrongStateError:
            config = None
        if config is not None:
            found.update(dict.fromkeys(config.machine_names, name))
    return found
