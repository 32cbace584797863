"""Names for nodes and ingress hosts in the host's own table: one block a cluster, owned, replaced whole, never anything else.

Rendering is pure; ``write_hosts`` is the only thing that touches the file. Prints nothing.
"""

from __future__ import annotations

import difflib
import errno
import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localk8s.kube.paths import api_path
from localk8s.kube.rest import RestClient
from localk8s.model.errors import KubernetesError, PrerequisiteError
from localk8s.model.hints import as_root
from localk8s.system.files import write_atomic
from localk8s.system.process import HostRunner

DOMAIN = "localk8s.test"
"""What nodes' names end in; ``test`` is reserved and never resolved by a name server."""
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)
_REPLACE = 'install -m 644 "$1" "$2.localk8s" && mv -f "$2.localk8s" "$2"'


@dataclass(frozen=True, slots=True)
class HostEntry:
    """A line of the table."""

    address: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.address}\t{' '.join(self.names)}"


def hosts_file() -> Path:
    """Where this system keeps the table."""
    if sys.platform == "win32":
        return Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "drivers" / "etc" / "hosts"
    return Path("/etc/hosts")


def find_entries(client: RestClient, nodes: Sequence[tuple[str, str]]) -> tuple[HostEntry, ...]:
    """The lines for a cluster: its nodes, and the hosts of its ingresses.

    Args:
        client: of the cluster's API.
        nodes: names and addresses.
    """
    entries = [HostEntry(address, (f"{name}.{DOMAIN}",)) for name, address in nodes if address]
    try:
        ingresses = client.get(api_path("networking.k8s.io/v1", "ingresses"))["items"]
    except KubernetesError as exc:
        if exc.status != 404:
            raise
        ingresses = []
    fallback = next((address for _, address in nodes if address), "")
    return (*entries, *ingress_entries(ingresses, fallback))


def ingress_entries(ingresses: Sequence[Mapping[str, Any]], fallback: str) -> tuple[HostEntry, ...]:
    """The lines for ingress hosts; wildcards cannot be in a table.

    Args:
        ingresses: Ingress objects.
        fallback: the address of those that have none of their own.
    """
    found: dict[str, set[str]] = {}
    for ingress in ingresses:
        announced = (ingress.get("status") or {}).get("loadBalancer", {}).get("ingress") or [{}]
        address = announced[0].get("ip") or fallback
        for rule in (ingress.get("spec") or {}).get("rules") or []:
            host = rule.get("host") or ""
            if address and _NAME.fullmatch(host):
                found.setdefault(address, set()).add(host)
    return tuple(HostEntry(address, tuple(sorted(names))) for address, names in sorted(found.items()))


def with_block(text: str, cluster: str, entries: Sequence[HostEntry]) -> str:
    """``text`` with the cluster's block replaced, added at the end, or (without entries) taken out; the rest as it was."""
    begin, end = f"# BEGIN localk8s {cluster}\n", f"# END localk8s {cluster}\n"
    block = begin + "".join(f"{entry}\n" for entry in entries) + end if entries else ""
    if text and not text.endswith("\n"):
        text += "\n"
    pattern = re.compile(rf"^{re.escape(begin)}(?:(?!# (?:BEGIN|END) localk8s ).*\n)*{re.escape(end)}", re.MULTILINE)
    first = pattern.search(text)
    if first is None:
        return text + block
    return text[: first.start()] + block + pattern.sub("", text[first.end() :])


def blocks(text: str) -> tuple[str, ...]:
    """The clusters that have a block in ``text``."""
    return tuple(re.findall(r"^# BEGIN localk8s ([a-z0-9-]+)$", text, re.MULTILINE))


def difference(before: str, after: str, path: Path) -> str:
    """What would change, as ``diff -u`` shows it."""
    lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), str(path), str(path))
    return "".join(lines)


def write_hosts(path: Path, content: str, runner: HostRunner, *, can_ask: bool, hint: str) -> None:
    """Replace the table; as root through sudo where this user may not, which then asks for a password once.

    Args:
        path: the table.
        content: all of it.
        runner: runs sudo.
        can_ask: whether there is somebody who could type a password.
        hint: the command that root can run instead.

    Raises:
        PrerequisiteError: it needs root, and there is no way to it.
    """
    try:
        try:
            write_atomic(path, _encoded(content), mode=0o644)
        except OSError as exc:
            if exc.errno not in (errno.EBUSY, errno.EXDEV):
                raise
            path.write_bytes(_encoded(content))  # a mount of its own (in a container) cannot be replaced, only filled
    except PermissionError as exc:
        if not can_ask or not _with_sudo(path, content, runner):
            raise PrerequisiteError(f"{path} can only be changed by root.", hint=as_root(hint)) from exc


def _encoded(content: str) -> bytes:
    """Bytes that are no UTF-8 go back as they came."""
    return content.encode("utf-8", "surrogateescape")


def _with_sudo(path: Path, content: str, runner: HostRunner) -> bool:
    with tempfile.NamedTemporaryFile(prefix="localk8s-hosts-") as file:
        file.write(_encoded(content))
        file.flush()
        try:
            return runner.foreground(["sudo", "sh", "-c", _REPLACE, "sh", file.name, str(path)]) == 0
        except PrerequisiteError:
            return False
