"""More programs under a native node's supervisor, such as a docker: from when they are asked for, at each boot again.

Owns how runit takes and gives up a service while it runs, and where the node keeps it (``node-init.sh`` hands it to runit
at a boot); must not know what the programs are.
"""

from __future__ import annotations

from localk8s.drivers.base import NodeService
from localk8s.drivers.native.node_files import SERVICES, Service, log_script, run_script
from localk8s.model.node import Node

_STAGE = "/run/localk8s/staged"
_KEPT = "/var/lib/localk8s/services"
_START = """set -eu
stage=$1 target=$2 kept=$3
mkdir -p "$kept"
rm -rf "$kept/$0.new"
cp -a "$stage" "$kept/$0.new"
rm -rf "$kept/$0"
mv "$kept/$0.new" "$kept/$0"
if [ -d "$target" ]; then
  if cmp -s "$stage/run" "$target/run"; then rm -rf "$stage"; sv start "$target" >/dev/null || true; exit 0; fi
  mv -f "$stage/run" "$target/run"
  rm -rf "$stage"
  sv -w 10 force-restart "$target" >/dev/null || true
  exit 0
fi
mv "$stage" "$target"
"""
_STOP = """set -eu
target=$1
rm -rf "$3"
[ -d "$target" ] || exit 0
sv -w 10 force-stop "$target" >/dev/null || true
sv -w 2 force-stop "$target/log" >/dev/null || true
mkdir -p "$2"
rm -rf "$2/old"
mv "$target" "$2/old"
for i in $(seq 60); do [ ! -e "$2/old/supervise/lock" ] || sv exit "$2/old" >/dev/null 2>&1 || break; sleep 0.05; done
rm -rf "$2/old"
"""


def start_service(node: Node, service: NodeService) -> None:
    """Let runit run ``service`` on ``node``; it looks for new ones every 5 seconds.

    Raises:
        WrongStateError: the node is off.
    """
    described = Service(
        service.name, service.argv, environment=tuple(service.environment.items()), prepare=tuple(service.prepare)
    )
    stage = f"{_STAGE}/{service.name}"
    node.write(f"{stage}/log/run", log_script(described), mode=0o755)
    node.write(f"{stage}/run", run_script(described), mode=0o755)
    node.run(["sh", "-c", _START, service.name, stage, f"{SERVICES}/{service.name}", _KEPT])


def stop_service(node: Node, name: str) -> None:
    """End the service ``name`` on ``node`` and forget it; what does not run is stopped already."""
    node.run(["sh", "-c", _STOP, "stop", f"{SERVICES}/{name}", _STAGE, f"{_KEPT}/{name}"])
