"""What only minikube has: option names and values, from the command line, the configuration and ``--minikube-arg``.

Owns names, checks and meaning of ``ClusterSpec.options`` for this driver. Pure; must not build command lines (``arguments``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from localk8s.drivers.minikube.passthrough import absorb, split_arguments
from localk8s.drivers.minikube.vm_drivers import VmDriver, vm_driver
from localk8s.model import hints
from localk8s.model.errors import ConfigError, UsageError

_RUNTIMES = {"docker": "docker", "containerd": "containerd", "cri-o": "crio", "crio": "crio"}
_TRUE, _FALSE = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})
_COUNTRIES = ("global", "cn")

HOST_ONLY = ("binary", "home", "release-mirror", "release-version", "release-sha256")
"""Settings about this host, never recorded with a cluster: the program to run, minikube's home, where ``setup`` gets it."""


@dataclass(frozen=True, slots=True)
class Options:
    """``ClusterSpec.options`` understood. Empty text and None mean "not asked for"."""

    driver: VmDriver | None = None
    runtime: str = ""
    cni: str = ""
    image_repository: str = ""
    image_mirror_country: str = ""
    binary_mirror: str = ""
    registry_mirrors: tuple[str, ...] = ()
    insecure_registries: tuple[str, ...] = ()
    base_image: str = ""
    iso_url: str = ""
    static_ip: str = ""
    network: str = ""
    subnet: str = ""
    ssh_address: str = ""
    ssh_user: str = ""
    ssh_key: str = ""
    ssh_port: int | None = None
    addons: bool | None = None
    offline: bool = False
    start_timeout: int = 1200
    """Seconds a start may take in all."""
    stop_timeout: int = 180
    """Seconds a stop may take."""
    arguments: tuple[str, ...] = ()
    """What is passed to ``minikube start`` as it is."""

    @property
    def mirrored(self) -> bool:
        """Whether images come from somewhere else than their usual registries, which switches preloads off."""
        return bool(self.image_repository or self.image_mirror_country)


_KEYS = {
    "vm-driver": "driver",
    "container-runtime": "runtime",
    "cni": "cni",
    "image-repository": "image_repository",
    "image-mirror-country": "image_mirror_country",
    "binary-mirror": "binary_mirror",
    "registry-mirror": "registry_mirrors",
    "insecure-registry": "insecure_registries",
    "base-image": "base_image",
    "iso-url": "iso_url",
    "static-ip": "static_ip",
    "network": "network",
    "subnet": "subnet",
    "ssh-ip-address": "ssh_address",
    "ssh-user": "ssh_user",
    "ssh-key": "ssh_key",
    "ssh-port": "ssh_port",
    "addons": "addons",
    "offline": "offline",
    "start-timeout": "start_timeout",
    "stop-timeout": "stop_timeout",
    "minikube-arg": "arguments",
}
OPTION_NAMES = tuple(_KEYS)
"""The names that ``ClusterSpec.options`` and the ``minikube:`` section of the configuration may hold."""

_LISTS = ("registry-mirror", "insecure-registry")
_PATHS = ("ssh-key", "cni")
_SECONDS = ("start-timeout", "stop-timeout")


def normalize(options: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, str]:
    """What to record: ``options`` with what the configuration's section adds, each value checked and spelled one way.

    Args:
        options: from the command line; they win over ``settings``. What ``minikube-arg`` says about an option that
            localk8s has itself becomes that option.
        settings: the ``minikube:`` section; lists are comma-separated, or one a line.

    Raises:
        UsageError: a name or value of ``options`` is unusable.
        ConfigError: one of ``settings`` is.
    """
    own = absorb(_checked_names(options, UsageError))
    try:
        base = absorb(_checked_names({key: text for key, text in settings.items() if key not in HOST_ONLY}, ConfigError))
        parse_options(base)
    except UsageError as exc:
        raise ConfigError(f"The minikube section of the configuration: {exc.message}", hint=exc.hint) from exc
    merged = {**base, **own}
    parsed = parse_options(merged)
    if parsed.driver is not None:
        merged["vm-driver"] = parsed.driver.name
    if parsed.runtime:
        merged["container-runtime"] = parsed.runtime
    for key in _LISTS:
        if key in merged:
            merged[key] = "\n".join(_items(merged[key]))
    return {key: merged[key] for key in OPTION_NAMES if merged.get(key, "") != ""}


def parse_options(options: Mapping[str, str]) -> Options:
    """``options`` understood.

    Raises:
        UsageError: a name or value is unusable.
    """
    _checked_names(options, UsageError)
    values = {_KEYS[key]: _value(key, text) for key, text in options.items() if text != ""}
    known = {field.name for field in fields(Options)}
    return Options(**{name: value for name, value in values.items() if name in known})  # type: ignore[arg-type]


def _checked_names(options: Mapping[str, str], error: type[UsageError] | type[ConfigError]) -> dict[str, str]:
    for key in options:
        if key not in _KEYS:
            allowed = ", ".join(OPTION_NAMES)
            raise error(
                f"{key!r} is no option of the minikube driver: it has {allowed}.", hint=hints.host_command("start", "--help")
            )
    return dict(options)


def _value(key: str, text: str) -> object:
    if key == "vm-driver":
        return vm_driver(text)
    if key == "container-runtime":
        return _runtime(text)
    if key == "image-mirror-country" and text not in _COUNTRIES:
        raise UsageError(f"{text!r} is no image mirror country of minikube: it knows cn and global.", hint="image-repository")
    if key in _LISTS:
        return tuple(_clean(key, item) for item in _items(text))
    if key in ("addons", "offline"):
        return _flag(key, text)
    if key in _SECONDS:
        return _number(key, text, 1, 86400)
    if key == "ssh-port":
        return _number(key, text, 1, 65535)
    if key == "minikube-arg":
        return split_arguments(text)
    return _clean(key, text)


def _runtime(text: str) -> str:
    try:
        return _RUNTIMES[text]
    except KeyError:
        raise UsageError(
            f"{text!r} is no container runtime of minikube: docker, containerd or cri-o.",
            hint=hints.host_command("start", "--help"),
        ) from None


def _flag(key: str, text: str) -> bool:
    if text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    raise UsageError(f"{key} is true or false, not {text!r}.")


def _number(key: str, text: str, least: int, most: int) -> int:
    if re.fullmatch(r"\d{1,6}", text, re.ASCII) and least <= int(text) <= most:
        return int(text)
    raise UsageError(f"{text!r} is no usable {key}: from {least} to {most}.")


def _items(text: str) -> Sequence[str]:
    return [item.strip() for item in re.split(r"[,\n]", text) if item.strip()]


def _clean(key: str, text: str) -> str:
    """``text``, which becomes one word of a command line."""
    spaces = key in _PATHS
    if text.startswith("-") or not text.isprintable() or (not spaces and any(character.isspace() for character in text)):
        raise UsageError(f"{text!r} is no usable {key}.")
    return text
