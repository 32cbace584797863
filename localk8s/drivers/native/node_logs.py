"""What the supervised programs of a native node wrote, whether the node runs or not.

The files of a node that is off are on its disk, which is mounted for the moment of the look, read-only and where no
other process sees it.
"""

from __future__ import annotations

from pathlib import Path

from localk8s.drivers.native.machine import NativeNode
from localk8s.drivers.native.node_files import LOGS
from localk8s.model.errors import CommandError, WrongStateError
from localk8s.model.node import Runner

_SHOW = """
cd "$1" 2>/dev/null || exit 0
for log in */current; do
  [ -f "$log" ] && [ ! -L "$log" ] && [ ! -L "${log%/current}" ] || continue # a node may have laid links to the host
  printf '==> %s <==\\n' "${log%/current}"
  tail -n "$2" "$log"
  echo
done
"""
_SHOW_FROM_DISK = f"""
set -e
[ ! -e "$3" ] || mount -n -o loop,ro,noload "$3" "$1"
lines=$2
for logs in "$1"{LOGS} "$1"/*{LOGS}; do
  [ -d "$logs" ] || continue
  set -- "$logs" "$lines"
  {_SHOW}
  exit 0
done
exit 3
"""
_NOTHING_THERE = 3


def read_logs(node: NativeNode, runner: Runner, directory: Path, image: Path, lines: int) -> str:
    """The last ``lines`` lines of each program, each under a line ``==> PROGRAM <==``.

    Args:
        node: the node, running or not.
        runner: runs commands on this host.
        directory: the node's own on this host.
        image: its disk's; not there where its size is unbounded.
        lines: of each program.

    Raises:
        WrongStateError: it is off, and has written nothing yet.
    """
    if node.process() is not None:
        return node.run(["sh", "-c", _SHOW, "sh", LOGS, str(lines)]).stdout
    disk = directory / "disk"
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _SHOW_FROM_DISK, "sh"]
    done = runner.run([*argv, str(disk), str(lines), str(image)], check=False) if disk.is_dir() else None
    if done is None or done.returncode == _NOTHING_THERE:
        raise WrongStateError(f"Node {node.name} is not running and has written nothing yet.")
    if done.returncode != 0:
        raise CommandError(done.argv, done.returncode, done.stdout, done.stderr)
    return done.stdout
