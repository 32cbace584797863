"""Commands of minikube that serve while they run: ``mount``, which outlives localk8s, and ``dashboard``, which does not.

Owns how they are started, seen to have begun, and ended. A mount lives until it is taken away or the cluster is stopped.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from localk8s.drivers.minikube import arguments
from localk8s.drivers.minikube.errors import find_failure, last_log, to_error
from localk8s.drivers.minikube.profile import ProfileConfig
from localk8s.drivers.minikube.session import Session
from localk8s.drivers.minikube.tool import end_serving
from localk8s.drivers.minikube.vm_drivers import Kind, vm_driver
from localk8s.model.errors import CommandError, NotSupportedError
from localk8s.model.node import Completed, Node
from localk8s.system.process import end_process_group
from localk8s.system.wait import Pending, wait_until

_MOUNT = 60.0
_DASHBOARD = 300.0
"""Seconds: it may have to be fetched first."""
_ADDRESS = re.compile(r"^(http://127\.0\.0\.1:\d+/\S*)$", re.MULTILINE)


def mount(session: Session, node: str, source: Path, target: str) -> None:
    """Let ``source`` be ``target`` on the first node; see ``SupportsMount``.

    Raises:
        NotSupportedError: that is no machine of its own, or not the first.
        CommandError, WaitTimeoutError: minikube did not do it.
    """
    machine = _machine(session, session.existing(), node)
    if _is_mounted(machine, target):
        raise CommandError(("mount",), None, message=f"Something is mounted at {target} on node {node} already.",
                           hint=session.command("mount", "--remove", target))  # fmt: skip
    machine.run(["mkdir", "-p", target])
    output = session.kubeconfig.parent / "mount.log"
    process = session.tool.launch(arguments.mount(session.profile, source, target), output)

    def there() -> bool:
        if _is_mounted(machine, target):
            return True
        _insist_alive(session, process, output, f"mount {source}")
        raise Pending(_last_line(output))

    try:
        wait_until(there, what=f"minikube to mount {source}", timeout=_MOUNT, interval=0.2, hint=last_log(session.cluster))
    except BaseException:
        end_process_group(process)
        raise


def unmount(session: Session, node: str, target: str) -> None:
    """Take it away; see ``SupportsMount``."""
    machine = _machine(session, session.existing(), node)
    if not _is_mounted(machine, target):
        raise CommandError(("umount", target), None, message=f"Nothing is mounted at {target} on node {node}.")
    machine.run(["umount", target])
    end_serving(session.profile, session.kubeconfig, f":{target}")


@contextlib.contextmanager
def dashboard(session: Session, port: int) -> Iterator[str]:
    """Minikube's own dashboard, while the block runs; see ``SupportsDashboard``."""
    session.existing()
    with tempfile.TemporaryDirectory(prefix="localk8s-dashboard-") as directory:
        output = Path(directory) / "output"
        process = session.tool.launch(arguments.dashboard(session.profile, port), output)

        def address() -> str:
            if found := _ADDRESS.search(_text(output)):
                return found[1]
            _insist_alive(session, process, output, "show its dashboard")
            raise Pending(_last_line(output))

        try:
            yield wait_until(
                address, what="minikube's dashboard", timeout=_DASHBOARD, interval=0.1, hint=last_log(session.cluster)
            )
        finally:
            end_process_group(process)


def _machine(session: Session, config: ProfileConfig, node: str) -> Node:
    nodes = session.nodes(config)
    if vm_driver(config.driver).kind is Kind.NONE:
        raise NotSupportedError("The node is this host itself: its directories are there already.", hint="ls .")
    if node != nodes[0].name:
        raise NotSupportedError(
            f"minikube mounts directories on {nodes[0].name} alone.",
            hint=session.command("mount", "--node", nodes[0].name, ".:/src"),
        )
    return nodes[0]


def _is_mounted(machine: Node, target: str) -> bool:
    return machine.run(["mountpoint", "-q", target], check=False).returncode == 0


def _insist_alive(session: Session, process: subprocess.Popen[bytes], output: Path, what: str) -> None:
    """Raise minikube's own reason if it has ended."""
    if (code := process.poll()) is not None:
        said = _text(output)
        done = Completed((str(session.tool.program),), code, said, said)
        raise to_error(find_failure(done), done, doing=what, cluster=session.cluster, vm=session.vm)


def _text(output: Path) -> str:
    return output.read_text(encoding="utf-8", errors="replace")


def _last_line(output: Path) -> str:
    return next((line.strip() for line in reversed(_text(output).splitlines()) if line.strip()), "it said nothing")
