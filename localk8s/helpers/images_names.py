"""Names of images: short ones as people type them, full ones as a runtime and a kubelet spell them. Pure."""

from __future__ import annotations

import re

from localk8s.model.errors import UsageError
from localk8s.model.hints import instead

_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REGISTRY = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_REFERENCE = re.compile(
    rf"(?P<name>(?:{_REGISTRY}/)?{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)
_LONGEST = 255


def full_name(name: str) -> str:
    """``name`` as containerd and the kubelet spell it: ``app`` is ``docker.io/library/app:latest``.

    Raises:
        UsageError: no image can have that name.
    """
    found = _REFERENCE.fullmatch(name) if len(name) <= 2 * _LONGEST else None
    if found is None or len(found["name"]) > _LONGEST or re.fullmatch("[0-9a-f]{64}", name):
        raise UsageError(f"{name[:80]!r} is no image name.", hint=instead("app:1", of=name))
    path = found["name"]
    first, _, rest = path.partition("/")
    if not rest or not ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        path = f"docker.io/{path}" if rest else f"docker.io/library/{path}"
    elif first == "index.docker.io":
        path = f"docker.io/{rest}"
    if path.startswith("docker.io/") and path.count("/") == 1:
        path = path.replace("docker.io/", "docker.io/library/")
    if found["digest"]:
        return f"{path}@{found['digest']}"
    return f"{path}:{found['tag'] or 'latest'}"


def short_name(name: str) -> str:
    """``name`` without what goes without saying, as ``docker images`` shows it."""
    return name.removeprefix("docker.io/library/").removeprefix("docker.io/")


def registry_of(name: str) -> str:
    """The registry of a full name: ``docker.io``, ``registry.k8s.io:5000``."""
    return full_name(name).partition("/")[0]
