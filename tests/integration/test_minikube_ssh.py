"""Nodes over the real OpenSSH: its quoting, its exit codes, its opinion of keys. Needs root and an sshd."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from localk8s.drivers.minikube.node import SshNode
from localk8s.drivers.minikube.ssh import SshTarget
from localk8s.model.errors import CommandError, NotFoundError
from localk8s.model.status import NodeRole
from localk8s.system.process import HostRunner

UNPACKED = Path(os.environ.get("LOCALK8S_CACHE") or Path("~/.cache/localk8s").expanduser()) / "test-tools" / "sshd"
"""Where ``scripts/test-tools`` has one."""
SSHD = (
    os.environ.get("LOCALK8S_TEST_SSHD")
    or shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    or shutil.which("sshd", path=str(UNPACKED / "usr" / "sbin"))
)

OWN_VIEW = """
cp /etc/passwd "$0/passwd"; grep -q ^sshd: "$0/passwd" || echo 'sshd:x:65530:65534::/run/sshd:/usr/sbin/nologin' >> "$0/passwd"
mount --bind "$0/passwd" /etc/passwd; mount -t tmpfs none /run; mkdir /run/sshd; exec "$@"
"""
"""An sshd that is only unpacked lacks its user and its directory: here it has both, and the host is as it was."""

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="sshd for one's own commands needs root"),
    pytest.mark.skipif(not SSHD or not shutil.which("ssh"), reason="there is no sshd: scripts/test-tools brings one"),
]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshTarget]:
    root = tmp_path_factory.mktemp("machine")
    for name in ("host", "id_rsa"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(root / name)], check=True)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    (root / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {root}/host\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {root}/id_rsa.pub\nPermitRootLogin yes\nPasswordAuthentication no\n"
    )
    with (root / "sshd_config").open("a") as config:
        for option, name in (("SshdSessionPath", "sshd-session"), ("SshdAuthPath", "sshd-auth")):
            if (program := UNPACKED / "usr" / "lib" / "openssh" / name).exists() and str(SSHD).startswith(str(UNPACKED)):
                config.write(f"{option} {program}\n")  # a program of its own from OpenSSH 9.8 on
    libraries = ":".join(str(path) for path in UNPACKED.glob("*/lib/*-linux-gnu*")) if UNPACKED.is_dir() else ""
    line = [str(Path(str(SSHD)).resolve()), "-D", "-e", "-f", str(root / "sshd_config")]
    log = (root / "log").open("w")
    process = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", OWN_VIEW, str(root), *line],
        stderr=log,
        env={**os.environ, "LD_LIBRARY_PATH": libraries} if str(SSHD).startswith(str(UNPACKED)) else None,
    )
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            time.sleep(0.05)
    assert process.poll() is None, (root / "log").read_text()
    log.close()
    yield SshTarget("127.0.0.1", port, "root", root / "id_rsa")
    process.terminate()
    process.wait(20)


def node(target: SshTarget) -> SshNode:
    return SshNode(HostRunner(), "machine", NodeRole.CONTROL_PLANE, lambda: "192.0.2.1", lambda: target)


def test_words_arrive_as_they_were_given(machine: SshTarget) -> None:
    words = ["a b", "'", '"', "$HOME", "`id`", "*", ";", "\\", "\n", "", "ä", "-x", "~", "#"]
    said = node(machine).run(["printf", "%s|", *words]).stdout
    assert said == "|".join(words) + "|"
    assert node(machine).run(["sh", "-c", 'printf %s "$A"'], env={"A": "x 'y' $z"}).stdout == "x 'y' $z"


@pytest.mark.parametrize("code", [0, 1, 42, 126, 254, 255])
def test_exit_codes_are_the_real_ones(machine: SshTarget, code: int) -> None:
    assert node(machine).run(["sh", "-c", f"exit {code}"], check=False).returncode == code
    assert node(machine).shell(["sh", "-c", f"exit {code}"]) == code


def test_files_go_both_ways(machine: SshTarget, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "in").write_bytes(content)
    target = str(tmp_path / "far side" / "file")
    node(machine).copy_in(tmp_path / "in", target, mode=0o640)
    assert Path(target).read_bytes() == content and Path(target).stat().st_mode & 0o777 == 0o640
    node(machine).copy_out(target, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == content
    assert list((tmp_path / "far side").iterdir()) == [Path(target)]
    with pytest.raises(NotFoundError):
        node(machine).copy_out("/no/such/file", tmp_path / "out")


def test_what_ssh_says_when_it_does_not_get_there(machine: SshTarget, tmp_path: Path) -> None:
    import dataclasses

    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    with pytest.raises(CommandError, match=r"machine cannot be reached over ssh: .*Permission denied"):
        node(dataclasses.replace(machine, key=tmp_path / "other")).run(["true"], check=False)
    with pytest.raises(CommandError, match=r"machine cannot be reached over ssh: .*refused"):
        node(dataclasses.replace(machine, port=1)).run(["true"], check=False)


def test_the_key_of_a_machine_that_minikube_did_not_make_is_remembered(machine: SshTarget, tmp_path: Path) -> None:
    import dataclasses

    known = tmp_path / "Application Support" / "known_hosts"
    known.parent.mkdir()
    careful = dataclasses.replace(machine, known_hosts=known)
    node(careful).run(["true"])
    line = known.read_text().split()
    known.write_text(f"{line[0]} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1xX5CqXf1dY8T2mYf1fGqQ2b9m2m4y3m5oYb2l3s4k\n")
    with pytest.raises(CommandError, match="cannot be reached over ssh: Host key verification failed"):
        node(careful).run(["true"])
