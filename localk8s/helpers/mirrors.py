"""Mirrors of image registries: what the configuration says, as files that containerd on every node goes by.

Owns ``/etc/containerd/certs.d`` on nodes as far as its files bear our mark, and which other names an image is asked for
by. containerd reads these files at each pull: nothing has to be restarted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from localk8s.helpers.images import CERTIFICATES
from localk8s.helpers.images_names import full_name
from localk8s.model.node import Node

MARK = "# Mirrors from localk8s's configuration file; rewritten at each start."
_DOCKER_HUB = "registry-1.docker.io"
_FORGET = """set -eu
mkdir -p "$1"
cd "$1"
for file in */hosts.toml; do
  [ -f "$file" ] || continue
  read -r first <"$file" || true
  [ "$first" != "$2" ] || rm -f "$file"
done
"""


def hosts_files(mirrors: Mapping[str, Sequence[str]]) -> Mapping[str, str]:
    """Containerd's description of each registry with mirrors: path below ``certs.d`` -> content.

    Mirrors of a prefix (``registry.k8s.io/coredns``) cannot be said there; see ``sources``.
    """
    return {
        f"{registry}/hosts.toml": hosts_file(registry, addresses)
        for registry, addresses in sorted(mirrors.items())
        if "/" not in registry
    }


def hosts_file(registry: str, addresses: Sequence[str], mark: str = MARK) -> str:
    """One hosts.toml: the addresses in their order, then the registry itself."""
    own = _DOCKER_HUB if registry == "docker.io" else registry
    lines = [mark, f"server = {json.dumps(f'https://{own}')}"]
    for address in addresses:
        scheme, _, place = with_scheme(address).partition("://")
        host, _, path = place.strip("/").partition("/")
        lines.append(f"[host.{json.dumps(f'{scheme}://{host}/v2/{path}' if path else f'{scheme}://{host}')}]")
        lines.append('capabilities = ["pull", "resolve"]')
        if path:
            lines.append("override_path = true")
    return "\n".join(lines) + "\n"


def sources(mirrors: Mapping[str, Sequence[str]], name: str, *, registries: bool = False) -> tuple[str, ...]:
    """Full names under which the image ``name`` can be had from mirrors of its prefix, in order; the longest prefix counts.

    Args:
        mirrors: as configured.
        name: short or full.
        registries: also those of whole registries, for a runtime that does not go by ``hosts_files``.
    """
    wanted = full_name(name)
    fitting = [prefix for prefix in mirrors if (registries or "/" in prefix) and wanted.startswith(f"{prefix.rstrip('/')}/")]
    if not fitting:
        return ()
    prefix = max(fitting, key=len)
    rest = wanted.removeprefix(f"{prefix.rstrip('/')}/")
    return tuple(full_name(f"{with_scheme(address).partition('://')[2].rstrip('/')}/{rest}") for address in mirrors[prefix])


def with_scheme(address: str) -> str:
    """``address`` with ``https://`` in front, unless it says how it is reached."""
    return address if address.startswith(("http://", "https://")) else f"https://{address}"


def apply_mirrors(node: Node, mirrors: Mapping[str, Sequence[str]]) -> None:
    """Let the node's containerd ask ``mirrors`` first, and no others that we told it of before.

    Raises:
        CommandError: the files cannot be written.
    """
    node.run(["sh", "-c", _FORGET, "mirrors", CERTIFICATES, MARK])
    for path, content in hosts_files(mirrors).items():
        node.write(f"{CERTIFICATES}/{path}", content)
