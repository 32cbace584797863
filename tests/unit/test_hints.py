"""Hints over the whole program: spelled in one place, and pasted on a host with a second cluster."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_door import Door
from pasted_hints import commands_in, complaint_about

import localk8s
from localk8s.cli.app import command_names

ROOT = Path(localk8s.__file__).parent
_COMMAND = re.compile(rf"\blocalk8s ({'|'.join(sorted({name.split()[0] for name in command_names()}))})\b")
_HELP = ("help", "epilog")
_PROSE = {
    "artifacts/cache.py": "image",
    "cli/docker_env.py": "docker-env",  # help
    "helpers/docker_env_shell.py": "docker-env failed",  # what tcsh prints
    "helpers/docker_env_certificates.py": "docker on",  # a certificate's name
    "helpers/proxy_filter.py": "proxy --commands",  # an answer by HTTP, to whoever runs the proxy
    "helpers/dashboard_web.py": "dashboard printed",
}


def _texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every string that is neither a docstring nor help, with its line."""
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        if isinstance(node, ast.keyword) and node.arg in _HELP:
            skipped |= {id(each) for each in ast.walk(node.value)}
        if isinstance(node, ast.Assign | ast.AnnAssign) and "_COMMANDS" in ast.unparse(node)[:40]:
            skipped |= {id(each) for each in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.lineno, node.value


def _sources() -> Iterator[tuple[str, ast.AST]]:
    for path in sorted(ROOT.rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def test_no_message_spells_a_command_by_hand() -> None:
    """It would name no cluster, or not quote what somebody typed."""
    found = [
        f"{name}:{line}: {text.strip()[:80]}"
        for name, tree in _sources()
        if name != "model/hints.py" and not name.startswith("drivers/minikube/")
        for line, text in _texts(tree)
        if _COMMAND.search(text) and _PROSE.get(name, "\0") not in text
    ]
    assert found == []


def test_commands_are_spelled_with_a_cluster_exactly_where_they_take_one() -> None:
    """``command`` for what has ``-c``, ``host_command`` for the rest, and nothing that there is not."""
    wrong = []
    for name, tree in _sources():
        for call in ast.walk(tree):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.args):
                continue
            verb = call.args[0]
            if call.func.id not in ("command", "host_command") or not isinstance(verb, ast.Constant):
                continue
            words = shlex.split(str(verb.value))
            about = call.func.id == "command"
            takes = complaint_about([*words, "-c", "two"]).startswith("No such option") is False
            bare = {"--help", "--all", "--artifacts"} & {each.value for each in call.args if isinstance(each, ast.Constant)}
            if verb.value not in command_names() or (about != takes and not (bare or verb.value == "start")):
                wrong.append(f"{name}:{call.lineno}: {ast.unparse(call)}")
    assert wrong == []


_PROVOKED = [
    (("start", "--driver", "native"), {}),
    (("start", "--cpus", "1"), {}),
    (("start", "--nodes", "1"), {}),
    (("start", "--nodes", "99"), {}),
    (("start", "--memory", "1"), {}),
    (("start", "--memory", "many"), {}),
    (("start", "--control-planes", "5", "--nodes", "2"), {}),
    (("start", "--kubernetes-version", "9.9"), {}),
    (("start", "--kubernetes-version", "1.35.1"), {}),
    (("start", "--driver-option", "shape=round"), {}),
    (("start", "--vm-driver", "virtualbox"), {}),
    (("start", "--no-wait", "--nodes", "4"), {"LOCALK8S_FAKE_FAIL": "init"}),
    (("delete",), {}),
    (("node", "delete", "two"), {}),
    (("node", "delete", "two-9"), {}),
    (("node", "delete", "two-2"), {}),
    (("node", "stop", "two-9"), {}),
    (("ssh", "two-9", "--", "true"), {}),
    (("image", "save", "app"), {}),
    (("image", "rm", "nothing"), {}),
    (("image", "pull", "Not A Name"), {}),
    (("image", "load", "/nowhere/app.tar"), {}),
    (("mount", "/tmp"), {}),
    (("cp", "a", "b"), {}),
    (("docker-env",), {}),
    (("registry", "start"), {}),
    (("render",), {}),
    (("inventory",), {}),
    (("port-forward", "foo/bar", "80"), {}),
    (("port-forward", "svc/web"), {}),
    (("logs", "foo/bar"), {}),
    (("logs", "--lines", "x"), {}),
    (("demo", "--replicas", "none"), {}),
    (("dashboard", "--ui", "nothing"), {}),
    (("hosts", "--apply", "--remove"), {}),
    (("kubeconfig", "--merge", "--remove"), {}),
]


def _state(door: Door, cluster: str) -> dict[str, bytes]:
    """Every file of a cluster but its log and its locks."""
    files = [path for path in door.home.rglob("*") if path.is_file() and path.suffix not in (".log", ".lock")]
    return {str(path): path.read_bytes() for path in files if cluster in (path.stem, path.parent.name)}


@pytest.mark.parametrize("other", ["default", "work"])
@pytest.mark.parametrize(("argv", "variables"), _PROVOKED, ids=[" ".join(argv) for argv, _ in _PROVOKED])
def test_what_a_refusal_advises_touches_no_other_cluster(
    door: Door, argv: tuple[str, ...], variables: dict[str, str], other: str
) -> None:
    """Pasted while another cluster is what a bare command means, by default or by LOCALK8S_CLUSTER."""
    selected = {} if other == "default" else {"LOCALK8S_CLUSTER": other}
    about = "two" if other == "default" else "default"
    for name in (other, about):
        door("start", "-c", name, "--nodes", "2")
    before, own = _state(door, other), _state(door, about)
    assert before and own
    group = 2 if argv[0] in ("node", "image", "registry") else 1
    words = [word.replace("two", about) for word in argv]
    ran = door(*words[:group], "-c", about, *words[group:], **selected, **variables)
    assert ran.code != 0, ran
    hint = next((line.partition("hint: ")[2] for line in ran.err.splitlines() if "  hint: " in line), "")
    for command in commands_in(hint):
        assert complaint_about(command) == ""
        real = "--driver" in command and "fake" not in command  # nothing real is started here
        if command[0] in ("start", "delete", "node", "stop", "status", "image", "logs") and not real:
            door(*command, **selected)
        assert _state(door, other) == before, f"{hint} touched the other cluster"
        assert _state(door, about).keys() >= own.keys(), f"{hint} deleted unasked"
