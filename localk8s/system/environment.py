"""The environment variables that localk8s understands. The only module that reads them from the process.

Everything else is handed a mapping, so that tests and library users can give their own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from localk8s.model.errors import ConfigError
from localk8s.model.hints import set_bare_cluster
from localk8s.system.owner import set_owner, sudo_owner

_YES, _NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")

VARIABLES: Mapping[str, str] = {
    "LOCALK8S_CLUSTER": "the cluster that commands mean when -c is not given",
    "LOCALK8S_DRIVER": "the driver for new clusters when --driver is not given",
    "LOCALK8S_OUTPUT": "the output format when -o is not given",
    "LOCALK8S_CONFIG": "another configuration file",
    "LOCALK8S_HOME": "one directory for configuration, state, data and cache together",
    "LOCALK8S_CACHE": "another directory for the cache alone",
    "LOCALK8S_OFFLINE": "1: nothing is fetched over a network",
    "LOCALK8S_NO_INPUT": "1: never ask; what would be asked is refused",
    "LOCALK8S_KEEP_ON_FAILURE": "1: keep what a failed start made",
    "KUBECONFIG": "the kubeconfig files to merge into, as kubectl reads it",
    "NO_COLOR": "anything: no colour and no moving lines",
}
"""What ``README.md`` lists."""
FLAGS = ("LOCALK8S_OFFLINE", "LOCALK8S_NO_INPUT", "LOCALK8S_KEEP_ON_FAILURE")
"""Those that are switched on or off."""


@dataclass(frozen=True, slots=True)
class Environment:
    """The variables of one process, read once."""

    variables: Mapping[str, str] = field(default_factory=dict)

    def text(self, name: str) -> str | None:
        """The variable's value; None when it is not set or empty."""
        return self.variables.get(name) or None

    def flag(self, name: str) -> bool:
        """Whether the variable is switched on.

        Raises:
            ConfigError: it is neither a yes nor a no.
        """
        value = self.variables.get(name, "")
        if value.lower() in _YES:
            return True
        if value.lower() in _NO:
            return False
        raise ConfigError(f"{name}={value!r} is neither yes nor no.", hint=f"export {name}=1")

    def path(self, name: str) -> Path | None:
        """The variable's value as an absolute path; None when it is not set."""
        value = self.text(name)
        return Path(value).expanduser().absolute() if value else None


def read_environment() -> Environment:
    """The environment of this process as it is now; hints are spelled for a shell that has it, files are its user's."""
    variables = dict(os.environ)
    owner = sudo_owner(variables)
    set_owner(owner)
    if owner is not None:
        variables["HOME"] = str(owner.home)  # sudo makes it root's; the kubeconfig is that user's
    environment = Environment(variables)
    set_bare_cluster(environment.text("LOCALK8S_CLUSTER"))
    return environment
