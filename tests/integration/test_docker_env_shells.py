"""docker-env in the real shells, by the very lines that the README shows: set, use docker, take back; nothing else changes.

What stands for the user is an environment full of traps, in a directory full of files whose names match everything.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from localk8s.helpers.docker_env_shell import Shell, assignments, typed_line
from localk8s.model.errors import UsageError

ROOT = Path(__file__).parents[2]
SHELLS: Mapping[Shell, tuple[str, ...]] = {
    Shell.BASH: ("bash", "--norc"),
    Shell.SH: ("dash",),
    Shell.ZSH: ("zsh", "-f"),
    Shell.FISH: ("fish", "--no-config"),
    Shell.TCSH: ("tcsh", "-f"),
}
OPTION = {Shell.FISH: ("--shell", "fish"), Shell.TCSH: ("--shell", "tcsh")}
"""As the README shows it: where SHELL is another one the shell has to be named."""
STRICT = {Shell.BASH: "set -eu; shopt -s failglob", Shell.SH: "set -eu", Shell.ZSH: "set -eu"}
NOISE = ("_", "SHLVL", "PWD", "OLDPWD", "fish_pid", "COLUMNS", "LINES")
DEFAULT = {
    "DOCKER_HOST": "tcp://192.0.2.1:2376",
    "DOCKER_TLS_VERIFY": "1",
    "DOCKER_CERT_PATH": "/home/a  b/*/[c]?/'\"$`\\é!~{x,y};#",
}
OTHER = {"DOCKER_HOST": "ssh://docker@192.0.2.2:22", "SSH_AUTH_SOCK": "/run/minikube agent", "SSH_AGENT_PID": "7"}
NAMES = ("DOCKER_HOST", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "SSH_AUTH_SOCK", "SSH_AGENT_PID", "UNRELATED")
TRAPS = (
    "two  blanks", " blank at both ends ", "", "*", "?", "[a-z]*", "line\nbreaks\n\n", "\n", "tab\t\ttab", "ends in \\",
    "\\n\\0101", "!", "!!:s/a/b/", "it's", 'say "x"', "$HOME ${PATH} $(id) `id`", "~", "~root", "{a,b}", "a;b&c|d<e>f",
    "#no comment", "=ls", "-n", "%d%s%%", "^a^b^", "\udcff\udc80 bytes", "é€ \u00a0\u2028", "\x01\x7f\x1b[31m", "a:b: c:~",
    "(x)",
)  # fmt: skip
STUB = """#!{python} -IS
import json, os, sys
sys.path.insert(0, {root!r})
from localk8s.helpers.docker_env_shell import Shell, assignments, removals
words = sys.argv[2:]
shell = Shell(words[words.index("--shell") + 1]) if "--shell" in words else Shell.SH
name = words[words.index("-c") + 1] if "-c" in words else "default"
dockers = json.load(open({dockers!r}))
printed = removals(shell, os.environ) if "--unset" in words else assignments(shell, name, dockers[name], os.environ)
sys.stdout.write(printed)
"""
PLUGIN = """
import json
from localk8s.testing import FakeDriver
class WithDocker(FakeDriver):
    def docker_environment(self, spec):
        return json.load(open({dockers!r}))[spec.name]
def build(context):
    return WithDocker(context.directory, context.environment)
"""
TEXT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=20)
TRICKY = st.text(" '\"\\$`!#&|;<>()[]{}*?~%^=-\t\né", max_size=12)
BYTES = st.binary(max_size=12).filter(lambda data: b"\0" not in data).map(os.fsdecode)
VALUE = st.one_of(st.none(), TEXT, TRICKY, BYTES, st.sampled_from(TRAPS))


class World:
    """A directory with a localk8s and a docker on its PATH, and files whose names match what could be matched."""

    def __init__(self, root: Path) -> None:
        self.root, self.bin, self.here = root, root / "bin", root / "here"
        self.bin.mkdir()
        self.here.mkdir()
        self.dockers = root / "dockers.json"
        for name in ("a", "ab", "*", "export", "X=1", "-n", "0101", "c", "{", "set"):
            (self.here / name).touch()
        self.put("docker", f"#!/bin/sh\nenv -0 >{root}/docker\n")
        self.put("localk8s", STUB.format(python=sys.executable, root=str(ROOT), dockers=str(self.dockers)))
        self.serve(DEFAULT, OTHER)

    def put(self, name: str, content: str) -> None:
        (self.bin / name).write_text(content)
        (self.bin / name).chmod(0o755)

    def serve(self, default: Mapping[str, str], other: Mapping[str, str]) -> None:
        self.dockers.write_text(json.dumps({"default": dict(default), "other": dict(other)}))

    def run(self, shell: Shell, lines: list[str], user: Mapping[str, str], name: str = "script") -> None:
        """Let the shell run ``lines``, from a file, as somebody with the variables ``user``."""
        if shutil.which(SHELLS[shell][0]) is None:
            pytest.skip(f"{SHELLS[shell][0]} is not installed (scripts/test-tools installs it)")
        script = self.root / name
        script.write_text("".join(f"{line}\n" for line in lines))
        base = {"PATH": f"{self.bin}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8", "HOME": str(self.root), "SHELL": "/bin/sh"}
        argv = [*SHELLS[shell], str(script)]
        done = subprocess.run(argv, env={**base, **user}, cwd=self.here, capture_output=True, timeout=120, check=False)
        assert (done.returncode, done.stderr.decode(errors="replace")) == (0, "")

    def seen(self, name: str) -> dict[str, str]:
        """The environment that was written to ``name``."""
        entries = os.fsdecode((self.root / name).read_bytes()).split("\0")
        return {key: value for key, _, value in (entry.partition("=") for entry in entries if entry) if key not in NOISE}


def check(world: World, shell: Shell, user: Mapping[str, str], strict: str = "") -> None:
    """What a user does with docker-env, and what is true of every variable after each line."""
    on, off = typed_line(shell, OPTION.get(shell, ())), typed_line(shell, (*OPTION.get(shell, ()), "--unset"))
    elsewhere = typed_line(shell, ("-c", "other", *OPTION.get(shell, ())))
    typed = [strict, "", on, "docker", on, elsewhere, "CHILD", off, off]
    child = [" ".join((*SHELLS[shell], str(world.root / "child")))]
    look = [f"env -0 >{world.root}/{number}" for number in range(len(typed))]
    (world.root / "child").write_text(f"{off}\nenv -0 >{world.root}/child-seen\n")
    world.run(shell, [line for pair in zip(typed, look, strict=True) for line in (pair if pair[0] != "CHILD" else child)], user)
    before = world.seen("1")
    default, other = (json.loads(world.dockers.read_text())[name] for name in ("default", "other"))
    seen = [world.seen(str(number)) for number in (2, 4, 5, 7, 8)]
    first, twice, switched, back, again = ({k: v for k, v in each.items() if not k.startswith("LOCALK8S_")} for each in seen)
    assert first == twice == {k: v for k, v in world.seen("docker").items() if not k.startswith("LOCALK8S_")}
    assert first == {**before, **default}
    assert switched == {**before, **other}
    assert back == again == before == world.seen("child-seen")
    assert not [name for each in seen[-2:] for name in each if name.startswith("LOCALK8S_")]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("start", range(0, len(TRAPS), len(NAMES)))
def test_every_trap_is_as_before(shell: Shell, start: int, world: World) -> None:
    user = dict(zip(NAMES, TRAPS[start:], strict=False))
    check(world, shell, user, STRICT.get(shell, ""))


@pytest.mark.parametrize("shell", SHELLS)
@settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(host=VALUE, verify=VALUE, path=VALUE, agent=VALUE)
def test_any_value_is_as_before(
    shell: Shell, world: World, host: str | None, verify: str | None, path: str | None, agent: str | None
) -> None:
    user = {"DOCKER_HOST": host, "DOCKER_TLS_VERIFY": verify, "DOCKER_CERT_PATH": path, "SSH_AGENT_PID": agent}
    check(world, shell, {name: value for name, value in user.items() if value is not None})


@pytest.mark.parametrize("shell", SHELLS)
@settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.one_of(TEXT, TRICKY, BYTES), min_size=60, max_size=60))
@example(values=list(TRAPS))
def test_any_value_of_the_cluster_arrives_or_is_refused(shell: Shell, world: World, values: list[str]) -> None:
    wanted = {}
    for number, value in enumerate(values):
        if shell is Shell.TCSH and "\n" in value:
            with pytest.raises(UsageError, match="contains a line break"):
                assignments(shell, "default", {"V": value}, {})
        else:
            wanted[f"V{number}"] = value
    world.serve(wanted, {})
    world.run(shell, [typed_line(shell, OPTION.get(shell, ())), f"env -0 >{world.root}/0"], {})
    assert {name: value for name, value in world.seen("0").items() if name in wanted} == wanted


@pytest.mark.parametrize("shell", SHELLS)
def test_the_command_itself_over_a_fake_cluster(shell: Shell, world: World, tmp_path: Path) -> None:
    distribution = tmp_path / "plugins" / "docker_driver-1.dist-info"
    distribution.mkdir(parents=True)
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: docker-driver\nVersion: 1\n")
    (distribution / "entry_points.txt").write_text("[localk8s.drivers]\nfake = docker_driver:build\n")
    (tmp_path / "plugins" / "docker_driver.py").write_text(PLUGIN.format(dockers=str(world.dockers)))
    settings_ = (
        f"PYTHONPATH={tmp_path}/plugins LOCALK8S_HOME={tmp_path}/l8s LOCALK8S_DRIVER=fake KUBECONFIG={tmp_path}/kubeconfig"
    )
    world.put("localk8s", f'#!/bin/sh\nexec env {settings_} {Path(sys.executable).with_name("localk8s")} "$@"\n')
    for name in ("default", "other"):
        subprocess.run([world.bin / "localk8s", "start", "-q", "-c", name], check=True, capture_output=True, timeout=60)
    check(world, shell, {"DOCKER_HOST": "mine  is * here\n", "SSH_AUTH_SOCK": "/tmp/agent", "UNRELATED": "!  *"})
    failing = typed_line(shell, ("-c", "nowhere", *OPTION.get(shell, ())))
    with pytest.raises(AssertionError, match=r"\(1, "):
        world.run(shell, [failing], {})


@pytest.mark.parametrize("shell", SHELLS)
def test_the_readme_shows_the_lines_that_are_tried_here(shell: Shell) -> None:
    shown = (ROOT / "README.md").read_text().replace("\\|", "|")
    for words in ((), ("--unset",)):
        line = typed_line(shell, (*OPTION.get(shell, ()), *words))
        assert f"`{line}`" in shown or f"`` {line} ``" in shown, line


def test_what_was_set_by_an_older_localk8s_is_taken_back_and_a_stale_value_is_not_kept(world: World) -> None:
    kept = {"LOCALK8S_EXISTING_DOCKER_HOST": "mine", "DOCKER_HOST": "ours", "DOCKER_TLS_VERIFY": "1"}
    off, on = typed_line(Shell.SH, ("--unset",)), typed_line(Shell.SH)
    world.run(Shell.SH, [off, f"env -0 >{world.root}/0"], {**kept, "LOCALK8S_ACTIVE_DOCKER": "default"})
    assert {k: v for k, v in world.seen("0").items() if "DOCKER" in k} == {"DOCKER_HOST": "mine"}
    world.run(Shell.SH, [on, off, f"env -0 >{world.root}/0"], {"LOCALK8S_EXISTING_DOCKER_HOST": "stale"})
    assert not [name for name in world.seen("0") if "DOCKER" in name]
