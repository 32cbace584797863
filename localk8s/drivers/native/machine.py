"""A native node: found by its control group, booted into its namespaces, entered, killed.

No process id is written down: a node is running when process 1 of its process namespace is in its control
group, so nothing can be stale. Must not know what Kubernetes is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from localk8s.drivers.native.plan import NodePlan
from localk8s.model.errors import CommandError, NotFoundError, PrerequisiteError, WaitTimeoutError, WrongStateError
from localk8s.model.hints import as_root, command, host_command
from localk8s.model.node import Completed, Input
from localk8s.model.status import NodeRole
from localk8s.system.cgroups import ControlGroup
from localk8s.system.files import write_atomic
from localk8s.system.host import is_root
from localk8s.system.namespaces import open_inside, resolve_inside
from localk8s.system.process import HostRunner
from localk8s.system.wait import wait_until

NODE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The cluster's Kubernetes is in /usr/local/bin."""
_ENVIRONMENT = ("HOME=/root", "LANG=C.UTF-8", f"PATH={NODE_PATH}", "KUBECONFIG=/etc/kubernetes/admin.conf")
_JOIN_GROUP_AND_UNSHARE = (
    'for group in "$@"; do echo $$ >"$group/cgroup.procs" || exit 1; done; '
    'exec unshare --mount --pid --net --uts --ipc --cgroup --fork --mount-proc=/proc sh "$INIT"'
)


class NativeNode:
    """One node on this host (a ``Node``).

    Args:
        plan: its name, address and role.
        group: its control group.
        runner: runs commands on the host.
        cluster: the name of its cluster, for hints.
        directory: where this host keeps its disk.
    """

    def __init__(self, plan: NodePlan, group: ControlGroup, runner: HostRunner, cluster: str, directory: Path) -> None:
        self.plan = plan
        self._directory = directory
        self.group = group
        self._host = runner
        self._cluster = cluster

    @property
    def name(self) -> str:
        """Its name."""
        return self.plan.name

    @property
    def role(self) -> NodeRole:
        """Its role."""
        return self.plan.role

    @property
    def address(self) -> str:
        """Its address on the bridge."""
        return str(self.plan.address)

    def process(self) -> int | None:
        """Process 1 of the node, as the host numbers it; None while it is off."""
        depth = len(_namespace_ids(os.getpid())) + 1
        for process in sorted(self.group.processes()):
            ids = _namespace_ids(process)
            if len(ids) == depth and ids[-1] == 1:
                return process
        return None

    def boot(self, environment: Mapping[str, str], init: Path, log: Path) -> subprocess.Popen[bytes]:
        """Start process 1; it waits for ``release`` before it supervises anything.

        Args:
            environment: what ``node-init.sh`` and ``node-boot.sh`` are told.
            init: the path of ``node-init.sh``.
            log: where its complaints go.
        """
        self.group.make()
        directories = [str(directory) for directory in self.group.directories]
        with log.open("wb") as complaints:
            return subprocess.Popen(
                ["setsid", "--fork", "sh", "-c", _JOIN_GROUP_AND_UNSHARE, "sh", *directories],
                stdin=subprocess.PIPE,
                stdout=complaints,
                stderr=complaints,
                env={"PATH": os.environ.get("PATH", os.defpath), "INIT": str(init), **environment},
                cwd="/",
            )

    def is_waiting(self) -> bool:
        """Whether process 1 has made its groups and waits for ``release`` (or has died, which that finds)."""
        process = self.process()
        return process is None or process in ControlGroup(self.group.hierarchies, f"{self.group.path}/system").processes()

    def is_supervised(self) -> bool:
        """Whether it has come up: process 1 is the supervisor.

        One whose starter was killed on the way is about to die.
        """
        process = self.process()
        return process is not None and _command(process) == "runsvdir"

    def end_orphans(self) -> None:
        """End commands that a killed localk8s left running on the node: they would meddle with the next one's."""
        import psutil

        mine = ["nsenter", "--target", str(self.process())]
        for process in psutil.process_iter(["cmdline"]):
            if (process.info["cmdline"] or [])[:3] != mine:
                continue
            with contextlib.suppress(psutil.Error):
                parent = process.parent()
                if parent is None or not any("localk8s" in word for word in parent.cmdline()):
                    for child in (*process.children(recursive=True), process):
                        child.kill()

    def wait_for_process(self, log: Path) -> int:
        """Process 1, once it is there.

        Raises:
            CommandError: it died at once; with what it complained.
        """

        def there() -> int | None:
            return self.process()

        try:
            return wait_until(there, what=f"node {self.name} to boot", timeout=15, interval=0.01)
        except WaitTimeoutError as exc:
            raise boot_failure(self.name, log) from exc

    def run(
        self,
        argv: Sequence[str],
        *,
        input: Input | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        check: bool = True,
    ) -> Completed:
        """Run a command in the node's namespaces; see ``Runner.run``."""
        settings = [f"{name}={value}" for name, value in (env or {}).items()]
        inner = self._host.with_prefix([*self._enter(), *settings])
        return inner.run(argv, input=input, timeout=timeout, check=check)

    def shell(self, argv: Sequence[str] = ()) -> int:
        """Run ``argv``, or a login shell, on this terminal."""
        term = f"TERM={os.environ.get('TERM', 'dumb')}"
        return self._host.with_prefix([*self._enter(), term]).foreground(list(argv) or ["bash", "-l"])

    def copy_in(self, source: Path, target: str, *, mode: int = 0o644) -> None:
        """Copy a host file onto the node; see ``Node.copy_in``."""
        try:
            content = source.read_bytes()
        except OSError as exc:
            raise NotFoundError(f"{source} cannot be read: {exc.strerror}.") from exc
        self.write(target, content, mode=mode)

    def copy_out(self, source: str, target: Path) -> None:
        """Copy a file of the node to the host; see ``Node.copy_out``."""
        write_atomic(target, self.read(source))

    def write(self, target: str, content: str | bytes, *, mode: int = 0o644) -> None:
        """Write a file on the node; see ``Node.write``."""
        script = 'set -e; mkdir -p "$(dirname "$1")"; umask 077; cat >"$1.new"; chmod "$2" "$1.new"; mv -f "$1.new" "$1"'
        self.run(["sh", "-c", script, "sh", target, f"{mode:o}"], input=content)

    def read(self, source: str) -> bytes:
        """The content of a file of the node.

        Raises:
            NotFoundError: it is not there.
        """
        try:
            with os.fdopen(open_inside(self._running(), source), "rb") as file:
                return file.read()
        except OSError as exc:
            raise NotFoundError(f"{source} cannot be read on node {self.name}: {exc.strerror}.") from exc

    def outside(self, path: str) -> Path:
        """See ``SharesFiles``."""
        try:
            return resolve_inside(self._running(), path)
        except OSError as exc:
            raise NotFoundError(f"{path} cannot be reached on node {self.name}: {exc.strerror}.") from exc

    def place(self) -> Path:
        """See ``KnowsRoom``."""
        return self._directory

    def kill(self) -> None:
        """End everything that runs on the node, at once. What is off stays off."""
        self.group.empty()

    def end_gently(self, below: str, *, timeout: float) -> None:
        """Send SIGTERM to what runs in the control groups below ``below``, and give it ``timeout`` seconds to end."""
        inner = ControlGroup(self.group.hierarchies, f"{self.group.path}/{below}")
        inner.signal(signal.SIGTERM)
        try:
            wait_until(lambda: not inner.processes(), what="containers to end", timeout=timeout, interval=0.05)
        except WaitTimeoutError:
            return  # what does not listen is killed with the node

    def _running(self) -> int:
        process = self.process()
        if process is None:
            raise WrongStateError(f"Node {self.name} is not running.", hint=command("start", cluster=self._cluster))
        check_root(f"Node {self.name} can only be entered by root.", command("ssh", self.name, cluster=self._cluster))
        return process

    def _enter(self) -> list[str]:
        process = str(self._running())
        return ["nsenter", "--target", process, "--all", "/usr/bin/env", "-i", *_ENVIRONMENT]


def check_root(message: str, line: str) -> None:
    """Refuse what the kernel would refuse this user, in a sentence and with what was typed, by sudo.

    Args:
        message: the sentence.
        line: the command to run by sudo where none was typed.

    Raises:
        PrerequisiteError: this is not root.
    """
    if not is_root():
        raise PrerequisiteError(message, hint=as_root(line))


def release(boot: subprocess.Popen[bytes], process: int, name: str, log: Path) -> None:
    """Tell a booting node that its cable is laid, and wait until its supervisor has taken over.

    Raises:
        CommandError: it died on the way; with what it complained.
    """
    boot.communicate(b"go\n", timeout=10)

    def supervised() -> bool:
        command = _command(process)
        if not command:
            raise boot_failure(name, log)
        return command == "runsvdir"

    wait_until(supervised, what=f"node {name} to boot", timeout=15, interval=0.01)


def boot_failure(name: str, log: Path) -> CommandError:
    """The error of a node that did not come up."""
    text = log.read_text(errors="replace") if log.exists() else ""
    last = next((line for line in reversed(text.splitlines()) if line.strip()), "it said nothing")
    return CommandError(
        ["node-init.sh"], None, "", text, message=f"Node {name} did not boot: {last}", hint=host_command("doctor")
    )


def _command(process: int) -> str:
    """The name of a process's program; empty when it is gone."""
    try:
        return Path(f"/proc/{process}/comm").read_text().strip()
    except OSError:
        return ""


def _namespace_ids(process: int) -> tuple[int, ...]:
    """The ids of a process in every process namespace it is in, the outermost first (proc(5), NSpid)."""
    try:
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                return tuple(int(part) for part in line.split()[1:])
    except OSError:
        pass
    return ()
