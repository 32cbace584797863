"""Whatever is typed or configured: exit 2 or 9 (or what it really comes to) and exactly one sentence, never a traceback."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
from cli_door import Door, assert_one_sentence
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localk8s.cli.app import split_passthrough
from localk8s.cli.errors import pasteable
from localk8s.cluster.wish import amended, new_spec, parse_wish, start_command
from localk8s.model.errors import ConfigError, UsageError
from localk8s.model.spec import ClusterSpec
from localk8s.system.config import Config, Defaults, parse_config

FUZZ = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)
"""What can be an argument of a program: anything without a zero byte."""


def valid_name(text: str) -> bool:
    import re

    return re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?", text) is not None


@FUZZ
@given(
    command=st.sampled_from(["start", "status", "delete", "ip", "kubeconfig", "ssh", "logs", "stop", "demo"]),
    name=TEXT.filter(lambda text: not valid_name(text)),
)
def test_names(door: Door, command: str, name: str) -> None:
    assert_one_sentence(door(command, f"--cluster={name}"), {2})


@FUZZ
@given(name=TEXT.filter(lambda text: text and not valid_name(text)))
def test_name_in_the_environment(door: Door, name: str) -> None:
    assert_one_sentence(door("status", LOCALK8S_CLUSTER=name), {9})


@FUZZ
@given(
    option=st.sampled_from(["--memory", "--disk-size", "--cpus", "--nodes", "--kubernetes-version", "--artifacts"]), value=TEXT
)
def test_sizes_versions_and_paths(door: Door, option: str, value: str) -> None:
    ran = door("start", "--dry-run", f"{option}={value}")
    if ran.code:
        assert_one_sentence(ran, {2})
    else:
        assert "Nothing was changed." in ran.out
    assert door.files == set()


@FUZZ
@given(
    command=st.sampled_from(["status", "list", "ip", "version", "doctor", "config", ""]),
    words=st.lists(
        st.one_of(TEXT, st.sampled_from(["-c", "-o", "json", "--", "--help", "status", "-v", "--nodes"])), max_size=4
    ),
)
def test_any_words(door: Door, command: str, words: list[str]) -> None:
    if command == "doctor":
        words = ["--driver", "fake", *words]
    ran = door(*([command] if command else []), *words)
    if ran.code not in (0, 3):
        assert "Traceback" not in ran.err
        assert ran.code in (2, 4, 8), ran
        assert ran.out == "" or ran.code == 4


@pytest.mark.parametrize(
    "argv",
    [
        ("start", "--nodes", "0"),
        ("start", "--nodes", "51"),
        ("start", "--nodes", "1e3"),
        ("start", "--nodes", "-1"),
        ("start", "--memory", "0"),
        ("start", "--memory", "1k"),
        ("start", "--memory", "4gg"),
        ("start", "--memory", "99999999t"),
        ("start", "--cpus", "nan"),
        ("start", "--cpus", "0"),
        ("start", "--disk-size", "1m"),
        ("start", "--kubernetes-version", "1.19.0"),
        ("start", "--kubernetes-version", "2.0.0"),
        ("start", "--kubernetes-version", "latest"),
        ("start", "--artifacts", "/nowhere/at/all"),
        ("start", "--artifacts", "~nobody-has-this-name/x"),
        ("start", "--driver-option", "novalue"),
        ("start", "--driver-option", "unknown=1"),
        ("start", "--driver", "fake", "--vm-driver", "kvm2"),
        ("start", "--driver", "vagrant", "--driver-option", "unknown=1"),
        ("start", "--driver", "native", "--driver-option", "unknown=1"),
        ("proxy", "--port", "00000199999"),
        ("dashboard", "--port", "65536"),
        ("dashboard", "--port", "٣"),
        ("start", "extra"),
        ("start", "--bogus"),
        ("status", "-o", "xml"),
        ("nonesuch",),
        ("-x",),
    ],
)
def test_nonsense(door: Door, argv: tuple[str, ...]) -> None:
    assert_one_sentence(door(*argv), {2})


@pytest.mark.parametrize("variable", ["LOCALK8S_OUTPUT", "LOCALK8S_KEEP_ON_FAILURE", "LOCALK8S_CLUSTER"])
def test_unusable_variables(door: Door, variable: str) -> None:
    ran = door("start", **{variable: "No Such Value"})
    assert_one_sentence(ran, {9})
    assert variable in ran.err


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("driver: [native]", "driver"),
        ("drivers: native", "drivers"),
        ("defaults: {memory: lots}", "defaults.memory"),
        ("defaults: {nodes: 0}", "defaults.nodes"),
        ("defaults: {nodes: two}", "defaults.nodes"),
        ("defaults: {cpus: 0}", "defaults.cpus"),
        ("defaults: {diskSize: 3x}", "defaults.diskSize"),
        ("defaults: {disk-size: 3g}", "defaults.disk-size"),
        ("defaults: {kubernetesVersion: 1.36}", "defaults.kubernetesVersion"),
        ("sources: {mirror: ftp://x}", "sources.mirror"),
        ("sources: {offline: maybe}", "sources.offline"),
        ('sources: {debianSuite: "../x"}', "sources.debianSuite"),
        ("- a\n- b", ""),
        ("a: b: c", ""),
        ("{", ""),
        ("&a [*a]", ""),
        ("!!python/object/apply:os.system [id]", ""),
    ],
)
def test_unusable_configuration_names_file_and_key(door: Door, text: str, key: str) -> None:
    config = door.home / "l8s/config/config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(text)
    ran = door("start", LOCALK8S_DRIVER="")
    assert_one_sentence(ran, {9})
    assert str(config) in ran.err
    assert f"error: {key} in " in ran.err or not key
    assert door("list").code == 0


def test_a_configuration_that_is_no_file_or_no_text(door: Door, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert_one_sentence(door("config", "view", LOCALK8S_CONFIG=str(tmp_path)), {9})
    assert_one_sentence(door("config", "view", LOCALK8S_CONFIG=str(tmp_path / "binary")), {9})


@settings(max_examples=200, deadline=None)
@given(text=st.one_of(st.text(max_size=80), st.from_regex(r"(driver|defaults|sources|minikube): .{0,40}", fullmatch=True)))
def test_configuration_of_any_text(text: str) -> None:
    try:
        assert isinstance(parse_config(text, Path("/c.yaml")), Config)
    except ConfigError as exc:
        assert "/c.yaml" in exc.message
        assert "\n" not in exc.message


@given(
    nodes=st.integers(1, 50),
    cpus=st.decimals("0.1", "64", places=2),
    memory=st.integers(512, 1 << 20),
    disk=st.integers(256, 1 << 24),
    minor=st.integers(20, 36),
    options=st.dictionaries(st.from_regex(r"[a-z][a-z-]{0,9}", fullmatch=True), TEXT, max_size=3),
)
def test_the_command_that_recreates_says_the_same(
    nodes: int, cpus: object, memory: int, disk: int, minor: int, options: dict[str, str]
) -> None:
    wish = parse_wish(
        nodes=nodes, cpus=str(cpus), memory=str(memory), disk_size=str(disk), kubernetes_version=f"1.{minor}.0", options=options
    )
    spec = new_spec("c-1", "native", wish, Defaults(), 2)
    words = shlex.split(start_command(spec))[2:]
    assert read_back(words) == spec


def read_back(words: list[str]) -> ClusterSpec:
    """The spec that the words of a start say."""
    given_: dict[str, str] = {}
    options: dict[str, str] = {}
    for name, value in zip(words[::2], words[1::2], strict=True):
        if name == "--driver-option":
            key, _, content = value.partition("=")
            options[key] = content
        else:
            given_[name.lstrip("-").replace("-", "_")] = value
    name, driver = given_.pop("c"), given_.pop("driver")
    nodes = given_.pop("nodes", None)
    wish = parse_wish(nodes=int(nodes) if nodes else None, options=options, **given_)  # type: ignore[arg-type]
    return new_spec(name, driver, wish, Defaults(), 2)


def test_an_empty_wish_amends_nothing() -> None:
    spec = new_spec("c", "native", parse_wish(nodes=3, memory="3g"), Defaults(), 2)
    assert amended(spec, parse_wish()) == spec


@pytest.mark.parametrize(
    ("argv", "ours", "rest"),
    [
        ("status -c x", "status -c x", None),
        ("ssh n -- ls -l", "ssh n", "ls -l"),
        ("ssh n", "ssh n", None),
        ("kubectl get pods", "kubectl", "get pods"),
        ("kubectl -c x -v get -c y", "kubectl -c x -v", "get -c y"),
        ("kubectl -cx --cluster=y -- -c z", "kubectl -cx --cluster=y", "-c z"),
        ("kubectl --help", "kubectl --help", ""),
        ("kubectl get --help", "kubectl", "get --help"),
        ("kubectl -c", "kubectl -c", ""),
    ],
)
def test_what_is_handed_on(argv: str, ours: str, rest: str | None) -> None:
    found = split_passthrough(argv.split())
    assert found == (ours.split(), None if rest is None else rest.split())


def test_kubectl_without_its_value_is_a_usage_error(door: Door) -> None:
    assert_one_sentence(door("kubectl", "-c"), {2})


def test_paths_with_zero_bytes() -> None:
    with pytest.raises(UsageError):
        parse_wish(artifacts="a\0b")


def test_a_hint_with_sudo_works_where_sudo_does_not_find_us(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "a b/localk8s"), "start"])
    assert pasteable("sudo localk8s start -c x") == f"sudo '{tmp_path}/a b/localk8s' start -c x"
    assert pasteable("localk8s start") == "localk8s start"
    monkeypatch.setattr("shutil.which", lambda *_, **__: "/usr/bin/localk8s")
    assert pasteable("sudo localk8s start") == "sudo localk8s start"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOCALK8S_OFFLINE", "maybe"),
        ("LOCALK8S_NO_INPUT", "maybe"),
        ("LOCALK8S_KEEP_ON_FAILURE", "maybe"),
        ("LOCALK8S_CONFIG", "/nowhere/at/all.yaml"),
        ("LOCALK8S_DRIVER", "bogus"),
    ],
)
def test_a_variable_that_makes_no_sense_is_named(door: Door, name: str, value: str) -> None:
    """Nothing that is set is ignored silently."""
    ran = door("start", "--dry-run", **{name: value})
    assert ran.code == 9 and name in ran.err
