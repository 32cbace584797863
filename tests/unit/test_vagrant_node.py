"""What is sent over ssh: quoted for the machine's shell, exit codes real, files whole. The shell here is a real one."""

from __future__ import annotations

import io
import shlex
import subprocess
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localk8s.drivers.vagrant.node import archive, remote_line, take_exit_code
from localk8s.drivers.vagrant.node_files import File
from localk8s.model.node import Completed

_TEXT = st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=30)


def through_a_shell(argv: list[str], env: dict[str, str]) -> Completed | None:
    """What arrives when a machine's shell runs the line."""
    line = remote_line(argv, env, "root", "mark")
    done = subprocess.run(["sh", "-c", line], capture_output=True, timeout=20, check=False)
    shown = Completed(("ssh",), done.returncode, done.stdout.decode(), done.stderr.decode())
    return take_exit_code(shown, tuple(argv), "mark")


@settings(max_examples=20, deadline=None)
@given(st.lists(_TEXT, max_size=4), _TEXT)
def test_words_and_variables_arrive_as_they_are(words: list[str], value: str) -> None:
    result = through_a_shell(["sh", "-c", 'printf "%s\\000" "$A" "$@"', "sh", *words], {"A": value})
    assert result is not None and result.returncode == 0
    assert result.stdout.split("\0")[:-1] == [value, *words]


@pytest.mark.parametrize("code", [0, 1, 127, 255])
def test_exit_codes_are_the_commands_own(code: int) -> None:
    result = through_a_shell(["sh", "-c", f"echo out; echo complaint >&2; exit {code}"], {})
    assert result is not None
    assert (result.returncode, result.stdout, result.stderr) == (code, "out\n", "complaint\n")


def test_without_the_mark_the_machine_was_not_reached() -> None:
    lost = Completed(("ssh",), 255, "", "Connection closed by 192.0.2.1\n")
    assert take_exit_code(lost, ("true",), "mark") is None


def test_a_command_cannot_forge_its_exit_code() -> None:
    result = through_a_shell(["sh", "-c", "printf '\\nmark:0' >&2; exit 3"], {})
    assert result is not None and result.returncode == 3


def test_other_users_become_root_without_a_question() -> None:
    assert shlex.split(remote_line(["id"], {}, "vagrant", "m"))[:3] == ["sudo", "-n", "-H"]


def test_an_archive_holds_files_with_their_modes() -> None:
    data = archive({"/etc/a b": File("x\n", 0o600), "/usr/local/sbin/s": File("#!/bin/sh\n", 0o755)})
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert {(member.name, member.mode, member.uid) for member in tar} == {
            ("etc/a b", 0o600, 0),
            ("usr/local/sbin/s", 0o755, 0),
        }
