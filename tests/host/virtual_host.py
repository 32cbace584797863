"""A virtual machine with a stock Debian, as users have one: systemd, version 2 control groups, an ordinary user with sudo.

Boots what ``scripts/host-image`` made, with a home that holds this tree and the artifact cache; commands go over ssh.
The machine ends with its object; its disks are overlays that are thrown away. Must not know what is tested.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from localk8s.system.wait import wait_until

TREE = Path(__file__).resolve().parents[2]
USER = "dev"
HOME_SIZE = "24G"
_BOOT_LIMIT = 400


@dataclass(frozen=True, slots=True)
class Said:
    """What a command in the machine said, and how it ended."""

    argv: str
    code: int
    out: str
    err: str

    def ok(self) -> str:
        """Standard output of a command that has to work."""
        assert self.code == 0, f"{self.argv}: exit {self.code}\n{self.out[-6000:]}\n{self.err[-6000:]}"
        return self.out


class VirtualHost:
    """One machine.

    Args:
        image: the directory that ``scripts/host-image`` made.
        work: a directory for its disks and its log.
        cache: the artifact cache that its user gets a copy of.
    """

    def __init__(self, image: Path, work: Path, cache: Path) -> None:
        self._image = image
        self._work = work
        self._process: subprocess.Popen[bytes] | None = None
        self._port = _free_port()
        self._make_disks(cache)

    def boot(self) -> None:
        """Start the machine and wait until it takes commands."""
        log = (self._work / "console.log").open("ab")
        self._process = subprocess.Popen(
            [
                "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "5120",
                "-kernel", str(self._image / "vmlinuz"), "-initrd", str(self._image / "initrd"),
                "-append", "root=/dev/vda rw console=ttyS0 net.ifnames=0 mitigations=off tsc=reliable",
                "-drive", f"file={self._work / 'disk.qcow2'},if=virtio,cache=unsafe",
                "-drive", f"file={self._work / 'home.raw'},if=virtio,cache=unsafe,format=raw",
                "-nic", f"user,model=virtio-net-pci,restrict=on,hostfwd=tcp:127.0.0.1:{self._port}-:22",
                "-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot",
            ],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        log.close()
        wait_until(self._is_up, what="the virtual machine to boot", timeout=_BOOT_LIMIT, interval=1)

    def reboot(self) -> None:
        """Shut down as a user would, and boot again."""
        self.root("systemctl poweroff")
        assert self._process is not None
        self._process.wait(timeout=_BOOT_LIMIT)
        self.boot()

    def user(self, script: str, *, timeout: float = 600) -> Said:
        """Run a shell line as the ordinary user, in a login of its own."""
        return self._ssh(USER, script, timeout)

    def root(self, script: str, *, timeout: float = 600) -> Said:
        """Run a shell line as root."""
        return self._ssh("root", script, timeout)

    def close(self) -> None:
        """End the machine and throw its disks away; the console's log stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        for disk in ("disk.qcow2", "home.raw"):
            (self._work / disk).unlink(missing_ok=True)

    def console(self) -> str:
        """The last lines that the machine's kernel and systemd wrote."""
        return (self._work / "console.log").read_text(errors="replace")[-3000:]

    def _ssh(self, user: str, script: str, timeout: float) -> Said:
        options = ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=60")
        argv = ["ssh", "-q", "-F", "/dev/null", "-p", str(self._port), "-i", str(self._image / "key")]
        argv += [word for option in options for word in ("-o", option)]
        argv += [f"{user}@127.0.0.1", script]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, check=False)
        return Said(script, done.returncode, done.stdout, done.stderr)

    def _is_up(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"the virtual machine ended:\n{self.console()}")
        try:
            return self._ssh("root", "systemctl is-system-running --wait >/dev/null; true", 120).code == 0
        except subprocess.TimeoutExpired:
            return False

    def _make_disks(self, cache: Path) -> None:
        _run(
            "qemu-img",
            "create",
            "-q",
            "-f",
            "qcow2",
            "-F",
            "raw",
            "-b",
            str(self._image / "disk.raw"),
            str(self._work / "disk.qcow2"),
        )
        home = self._work / "home"
        source = home / "localk8s"
        source.mkdir(parents=True)
        files = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=TREE, capture_output=True, check=True
        ).stdout
        present = b"\0".join(name for name in files.split(b"\0") if name and (TREE / os.fsdecode(name)).exists())
        archive = subprocess.run(
            ["tar", "--null", "-T", "-", "-cf", "-"], cwd=TREE, input=present, capture_output=True, check=True
        ).stdout
        _run("tar", "-C", str(source), "-xf", "-", input=archive)
        _run("tar", "-C", str(source), "-xf", str(next(self._image.glob("venv-*.tar"))))
        (source / ".venv/.installed").touch()
        kept = home / ".cache/localk8s"
        kept.mkdir(parents=True)
        _run("cp", "--archive", "--link", str(cache / "artifacts"), str(kept / "artifacts"))
        disk = self._work / "home.raw"
        _run("truncate", "--size", HOME_SIZE, str(disk))
        _run(
            "mkfs.ext4",
            "-q",
            "-F",
            "-E",
            "lazy_itable_init=1,lazy_journal_init=1,root_owner=1000:1000",
            "-d",
            str(home),
            str(disk),
        )
        shutil.rmtree(home)


def wanted_cache() -> Path:
    """The artifact cache of who runs the tests."""
    return Path(os.environ.get("LOCALK8S_CACHE") or Path("~/.cache/localk8s").expanduser())


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _run(*argv: str, cwd: Path | None = None, input: bytes | None = None) -> None:
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    subprocess.run(argv, cwd=cwd, input=input, env=environment, timeout=600, check=True)
