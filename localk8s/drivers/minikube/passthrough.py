"""``--minikube-arg``: what may be passed on to ``minikube start``, and what localk8s must know of it. Pure.

A flag that localk8s has an option for becomes that option, so that it is recorded and compared like the rest; one
that would take the cluster out of localk8s's hands is refused.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from localk8s.model import hints
from localk8s.model.errors import UsageError

_BECOMES_OPTION = (
    "container-runtime",
    "cni",
    "image-repository",
    "image-mirror-country",
    "binary-mirror",
    "registry-mirror",
    "insecure-registry",
    "base-image",
    "iso-url",
    "static-ip",
    "network",
    "subnet",
    "ssh-ip-address",
    "ssh-user",
    "ssh-key",
    "ssh-port",
)
_REPEATABLE = ("registry-mirror", "insecure-registry")

_HAS_OWN_OPTION = {
    "driver": "--vm-driver",
    "d": "--vm-driver",
    "vm-driver": "--vm-driver",
    "profile": "--cluster",
    "p": "--cluster",
    "nodes": "--nodes",
    "n": "--nodes",
    "memory": "--memory",
    "m": "--memory",
    "cpus": "--cpus",
    "disk-size": "--disk-size",
    "kubernetes-version": "--kubernetes-version",
    "dry-run": "--dry-run",
    "output": "-o",
    "o": "-o",
}
_REFUSED = {
    "ha": "localk8s makes one control plane",
    "interactive": "localk8s never lets minikube ask questions",
    "user": "localk8s tells minikube who is asking",
    "delete-on-failure": "it would delete a cluster that is there",
    "download-only": "it makes no cluster",
    "no-kubernetes": "it makes no cluster",
    "embed-certs": "localk8s reads the certificates from there",
    "keep-context": "minikube never sees your kubeconfig",
    "help": "it starts nothing",
    "h": "it starts nothing",
}


def split_arguments(text: str) -> tuple[str, ...]:
    """The arguments in ``text``, separated by blanks or line ends and quoted as for a shell.

    Raises:
        UsageError: one is nothing that ``minikube start`` could take.
    """
    try:
        arguments = tuple(shlex.split(text))
    except ValueError as exc:
        raise UsageError(f"{text!r} cannot be passed to minikube: a quote is not closed.") from exc
    awaits_value = False
    for argument in arguments:
        if any(not character.isprintable() for character in argument):
            raise UsageError(f"{argument!r} cannot be passed to minikube.")
        if argument.startswith("-"):
            _check_flag(argument)
        elif not awaits_value:
            raise UsageError(
                f"{argument!r} is no flag of minikube start.",
                hint=hints.host_command("start", "--help"),
            )
        awaits_value = argument.startswith("-") and "=" not in argument
    return arguments


def absorb(options: Mapping[str, str]) -> dict[str, str]:
    """``options`` in which every flag of ``minikube-arg`` that is an option of localk8s stands as that option.

    Raises:
        UsageError: one is said twice with different values, has no value, or is refused.
    """
    result = {key: text for key, text in options.items() if key != "minikube-arg"}
    said: dict[str, list[str]] = {}
    rest: list[str] = []
    waiting = list(reversed(split_arguments(options.get("minikube-arg", ""))))
    while waiting:
        argument = waiting.pop()
        name, equals, value = argument.lstrip("-").partition("=")
        if not argument.startswith("--") or name not in _BECOMES_OPTION:
            rest.append(argument)
            continue
        if not equals:
            if not waiting or waiting[-1].startswith("-"):
                raise UsageError(f"--{name} needs a value.", hint=f"--minikube-arg --{name}=VALUE")
            value = waiting.pop()
        said.setdefault(name, []).append(value)
    for name, values in said.items():
        _put(result, name, values)
    if rest:
        result["minikube-arg"] = shlex.join(rest)
    return result


def flag_names(arguments: tuple[str, ...]) -> frozenset[str]:
    """The names of the flags in ``arguments``, without dashes and values."""
    return frozenset(argument.lstrip("-").partition("=")[0] for argument in arguments if argument.startswith("-"))


def _put(result: dict[str, str], name: str, values: list[str]) -> None:
    if name in _REPEATABLE:
        result[name] = "\n".join([*filter(None, [result.get(name, "")]), *values])
        return
    if len({*values, result.get(name) or values[-1]}) > 1:
        raise UsageError(f"{name} is given twice, with different values.")
    result[name] = values[-1]


def _check_flag(argument: str) -> None:
    name = argument.lstrip("-").partition("=")[0]
    if not argument.startswith("--") and len(name) > 1 and name[0] in _HAS_OWN_OPTION:
        name = name[0]  # -pNAME
    if not name or " " in name:
        flag, _, value = argument.partition(" ")
        hint = f"--minikube-arg {flag}={value.strip()}" if value else ""
        raise UsageError(f"{argument!r} is not one flag of minikube start.", hint=hint)
    if own := _HAS_OWN_OPTION.get(name):
        raise UsageError(
            f"minikube's {argument.partition('=')[0]} has its own option here: {own}.",
            hint=hints.host_command("start", "--help"),
        )
    if reason := _REFUSED.get(name):
        raise UsageError(f"{argument.partition('=')[0]} cannot be passed to minikube: {reason}.")
