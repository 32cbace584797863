"""The settings that new clusters are made with, each with its origin. Looks, changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from localk8s.artifacts.catalog import NODE_SUITE
from localk8s.model.quantities import size_argument
from localk8s.model.spec import DEFAULT_NODE_SIZE
from localk8s.wiring import Installation

_OWN = "default"


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting that counts."""

    key: str
    """As in the configuration file: ``defaults.memory``."""
    value: str
    """Empty: nothing is set."""
    origin: str
    """``default``, the configuration file's path, or a variable's name."""


def effective_settings(installation: Installation) -> tuple[Setting, ...]:
    """All settings, in the order of the configuration file.

    Raises:
        ConfigError: the configuration file or a variable is unusable.
    """
    config, environment = installation.config, installation.environment
    defaults, sources = config.defaults, config.sources
    file = str(installation.config_file)

    def setting(key: str, value: object, own: str = "") -> Setting:
        return Setting(key, own, _OWN) if value is None else Setting(key, str(value), file)

    def size(value: int | None) -> str | None:
        return None if value is None else size_argument(value)

    driver = environment.text("LOCALK8S_DRIVER")
    offline = environment.flag("LOCALK8S_OFFLINE")
    settings = [
        Setting("driver", driver, "LOCALK8S_DRIVER") if driver else setting("driver", config.driver, "what this host can run"),
        setting("defaults.nodes", defaults.nodes, "1"),
        setting("defaults.cpus", defaults.cpus, str(DEFAULT_NODE_SIZE.cpus)),
        setting("defaults.memory", size(defaults.memory), size(DEFAULT_NODE_SIZE.memory) or ""),
        setting("defaults.diskSize", size(defaults.disk), size(DEFAULT_NODE_SIZE.disk) or ""),
        setting("defaults.kubernetesVersion", defaults.kubernetes_version, "the newest that a source can give"),
        setting("sources.mirror", sources.mirror),
        setting("sources.official", sources.official),
        setting("sources.debianSuite", sources.debian_suite, NODE_SUITE),
        Setting("sources.offline", "true", "LOCALK8S_OFFLINE")
        if offline
        else setting("sources.offline", sources.offline or None, "false"),
    ]
    settings += [Setting(f"mirrors.{name}", ", ".join(mirrors), file) for name, mirrors in config.mirrors.items()]
    for name, section in config.drivers.items():
        settings += [Setting(f"{name}.{key}", value, file) for key, value in section.items()]
    return tuple(settings)
