"""The user's configuration file: read as YAML 1.2, checked strictly, handed out as frozen data.

Must not decide anything: what wins over what is resolved by ``localk8s.cluster``. Errors name the file and the key.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localk8s.model.errors import ConfigError, Localk8sError
from localk8s.model.quantities import parse_cpus, parse_size
from localk8s.model.versions import KubernetesVersion, parse_kubernetes_version

if TYPE_CHECKING:
    from pydantic import ValidationError

MIRROR_SETS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "cn": {
        "k8s.gcr.io": ("https://registry.cn-hangzhou.aliyuncs.com/google_containers",),
        "registry.k8s.io": ("https://registry.cn-hangzhou.aliyuncs.com/google_containers",),
        "registry.k8s.io/coredns": ("https://registry.cn-hangzhou.aliyuncs.com/google_containers",),
    }
}
"""Ready-made mirrors, by the name that the configuration file says instead of a mapping: ``mirrors: cn``."""
DRIVER_SECTIONS = ("minikube", "vagrant")


_REGISTRY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?(?:/[a-z0-9._-]+)*", re.ASCII)
_MIRROR = re.compile(rf"(?:https?://)?{_REGISTRY.pattern}/?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a new cluster gets where the command line says nothing."""

    nodes: int | None = None
    cpus: Decimal | None = None
    memory: int | None = None
    disk: int | None = None
    kubernetes_version: KubernetesVersion | None = None


@dataclass(frozen=True, slots=True)
class Sources:
    """Where artifacts may come from, beside the cache, named directories and Debian."""

    mirror: str | None = None
    official: str | None = None
    debian_suite: str | None = None
    offline: bool = False


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file; every part of it may be missing."""

    driver: str | None = None
    defaults: Defaults = Defaults()
    sources: Sources = Sources()
    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Image registry (``docker.io``) or prefix (``registry.k8s.io/coredns``) -> mirrors, the first asked first."""
    drivers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Driver -> its own section, checked by the driver."""


def load_config(path: Path) -> Config:
    """The configuration in ``path``; an empty one when there is no such file.

    Raises:
        ConfigError: it cannot be read, or holds something unusable; the message names the file and the key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return Config()
    except (OSError, UnicodeDecodeError) as exc:
        raise _unusable(path, "", f"it cannot be read ({getattr(exc, 'strerror', None) or 'it is no UTF-8 text'})") from exc
    return parse_config(text, path)


def parse_config(text: str, path: Path) -> Config:
    """The configuration that ``text`` says; ``path`` is for the errors, which are as those of ``load_config``."""
    content = _yaml(text, path)
    if content is None:
        return Config()
    if not isinstance(content, dict):
        raise _unusable(path, "", "it holds no settings (key: value)")
    from pydantic import ValidationError

    try:
        checked = _schema().model_validate(content).model_dump()
    except ValidationError as exc:
        raise _invalid(path, exc) from exc
    return _config(checked, path)


def _yaml(text: str, path: Path) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, RecursionError, TypeError, AttributeError, KeyError, IndexError, OverflowError) as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        raise _unusable(path, "", f"it is no YAML{where}") from exc


def _schema() -> Any:
    from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, create_model

    strict = ConfigDict(extra="forbid", frozen=True)
    scalar = StrictStr | StrictInt | float
    base: type[BaseModel] = create_model("Section", __config__=strict)
    defaults = create_model(
        "Defaults",
        __base__=base,
        nodes=(StrictInt | None, None),
        cpus=(scalar | None, None),
        memory=(scalar | None, None),
        diskSize=(scalar | None, None),
        kubernetesVersion=(StrictStr | None, None),
    )
    sources = create_model(
        "Sources",
        __base__=base,
        mirror=(StrictStr | None, None),
        official=(StrictStr | None, None),
        debianSuite=(StrictStr | None, None),
        offline=(StrictBool, False),
    )
    own: dict[str, Any] = {
        name: (dict[StrictStr, StrictBool | scalar], Field(default_factory=dict)) for name in DRIVER_SECTIONS
    }
    fields: dict[str, Any] = {
        "driver": (StrictStr | None, None),
        "defaults": (defaults, Field(default_factory=defaults)),
        "sources": (sources, Field(default_factory=sources)),
        "mirrors": (StrictStr | dict[StrictStr, StrictStr | list[StrictStr]] | None, None),
        **own,
    }
    return create_model("File", __base__=base, **fields)


def _config(checked: Mapping[str, Any], path: Path) -> Config:
    defaults, sources = checked["defaults"], checked["sources"]
    nodes = defaults["nodes"]
    if nodes is not None and nodes < 1:
        raise _unusable(path, "defaults.nodes", "a cluster has at least 1 node")
    parsed = partial(_parsed, path, defaults)
    return Config(
        driver=checked["driver"],
        defaults=Defaults(
            nodes=nodes,
            cpus=parsed("cpus", parse_cpus),
            memory=parsed("memory", parse_size),
            disk=parsed("diskSize", parse_size),
            kubernetes_version=parsed("kubernetesVersion", parse_kubernetes_version),
        ),
        sources=Sources(
            mirror=_address(path, "mirror", sources["mirror"]),
            official=_address(path, "official", sources["official"]),
            debian_suite=_suite(path, sources["debianSuite"]),
            offline=sources["offline"],
        ),
        mirrors=_mirrors(path, checked["mirrors"]),
        drivers={name: {key: _text(value) for key, value in checked[name].items()} for name in DRIVER_SECTIONS},
    )


def _mirrors(path: Path, told: str | Mapping[str, str | Sequence[str]] | None) -> Mapping[str, tuple[str, ...]]:
    if told is None:
        return {}
    if isinstance(told, str):
        if told not in MIRROR_SETS:
            raise _unusable(path, "mirrors", f"{told!r} is no set of mirrors: {', '.join(MIRROR_SETS)}")
        return MIRROR_SETS[told]
    found = {key: (value,) if isinstance(value, str) else tuple(value) for key, value in told.items()}
    for key, addresses in found.items():
        if not _REGISTRY.fullmatch(key):
            raise _unusable(path, f"mirrors.{key[:60]}", "that is no registry, such as docker.io, and no prefix of images")
        for address in addresses:
            if not _MIRROR.fullmatch(address):
                raise _unusable(path, f"mirrors.{key}", f"{address[:80]!r} is no address of a mirror")
    return found


def _parsed(path: Path, section: Mapping[str, Any], key: str, parse: Callable[[str], Any]) -> Any:
    if section[key] is None:
        return None
    try:
        return parse(_text(section[key]))
    except Localk8sError as exc:
        raise _unusable(path, f"defaults.{key}", exc.message.rstrip(".")) from exc


def _address(path: Path, key: str, value: str | None) -> str | None:
    if value is not None and not value.startswith(("http://", "https://")):
        raise _unusable(path, f"sources.{key}", f"{value!r} is no http:// or https:// address")
    return value


def _suite(path: Path, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[a-z]+", value):
        raise _unusable(path, "sources.debianSuite", f"{value[:80]!r} is not the name of a Debian suite, such as forky")
    return value


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _invalid(path: Path, exc: ValidationError) -> ConfigError:
    first = exc.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"][:2])
    if first["type"] == "extra_forbidden":
        return _unusable(path, key, "there is no such setting")
    return _unusable(path, key, first["msg"][:1].lower() + first["msg"][1:])


def _unusable(path: Path, key: str, why: str) -> ConfigError:
    subject = f"{key} in {path}" if key else str(path)
    return ConfigError(f"{subject} is unusable: {why}.", hint=f"$EDITOR {shlex.quote(str(path))}")
