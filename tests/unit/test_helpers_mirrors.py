"""What the configuration says of mirrors, as containerd's files; where directories may be mounted; the registry's files."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localk8s.helpers.mirrors import hosts_file, hosts_files, sources
from localk8s.helpers.mount import check_target, split
from localk8s.helpers.registry import hosting, registry_configuration, registry_service
from localk8s.model.errors import ConfigError, UsageError
from localk8s.system.config import MIRROR_SETS, parse_config

FILE = Path("config.yaml")


def test_mirrors_are_asked_in_their_order_and_the_registry_last() -> None:
    read = tomllib.loads(hosts_file("docker.io", ["one.example", "http://two.example:5000/deep/er"]))
    assert read["server"] == "https://registry-1.docker.io"
    assert list(read["host"]) == ["https://one.example", "http://two.example:5000/v2/deep/er"]
    assert read["host"]["http://two.example:5000/v2/deep/er"]["override_path"] is True
    assert "override_path" not in read["host"]["https://one.example"]
    assert all(each["capabilities"] == ["pull", "resolve"] for each in read["host"].values())


def test_a_prefix_has_no_file_but_other_names() -> None:
    mirrors = {"registry.k8s.io": ("a.example",), "registry.k8s.io/coredns": ("https://b.example/google", "c.example")}
    assert set(hosts_files(mirrors)) == {"registry.k8s.io/hosts.toml"}
    assert sources(mirrors, "registry.k8s.io/coredns/coredns:v1") == (
        "b.example/google/coredns:v1",
        "c.example/coredns:v1",
    )
    assert sources(mirrors, "registry.k8s.io/pause:3") == ()
    assert sources(mirrors, "registry.k8s.io/corednsx/a:1") == ()


def test_the_configuration_is_read() -> None:
    config = parse_config('mirrors: {docker.io: one.example, "reg:5000": [http://a.example, b.example/x]}', FILE)
    assert config.mirrors == {"docker.io": ("one.example",), "reg:5000": ("http://a.example", "b.example/x")}
    assert parse_config("mirrors: cn", FILE).mirrors == MIRROR_SETS["cn"]
    assert parse_config("", FILE).mirrors == {}
    for mirrors in MIRROR_SETS.values():
        assert parse_config(json.dumps({"mirrors": {key: list(value) for key, value in mirrors.items()}}), FILE).mirrors


@pytest.mark.parametrize(
    "text",
    [
        "mirrors: xx",
        "mirrors: 1",
        "mirrors: {docker.io: 1}",
        "mirrors: {../../etc: a.example}",
        "mirrors: {docker.io: 'ftp://a'}",
        "mirrors: {docker.io: ['a\"]\\nx']}",
        "mirrors: {'': a.example}",
        "mirrors: [a]",
    ],
)
def test_hostile_mirrors_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="mirrors"):
        parse_config(text, FILE)


@given(st.text(max_size=30), st.text(max_size=30))
def test_whatever_is_accepted_makes_a_file_that_is_read_back(registry: str, address: str) -> None:
    try:
        mirrors = parse_config(json.dumps({"mirrors": {registry: [address]}}), FILE).mirrors
    except ConfigError:
        return
    for path, content in hosts_files(mirrors).items():
        assert ".." not in path.split("/") and path.count("/") == 1
        assert len(tomllib.loads(content)["host"]) == 1


@pytest.mark.parametrize(
    ("target", "plain"), [("/src", "/src"), ("/srv/../data/", "/data"), ("//a//b", "/a/b"), ("/var/x", "/var/x")]
)
def test_places_for_mounts(target: str, plain: str) -> None:
    assert check_target(target) == plain


@pytest.mark.parametrize(
    "target", ["", "x", "/", "/etc", "/etc/x", "/usr/local", "/var", "/var/lib", "/var/lib/kubelet/x", "/a/../proc", "/a\nb"]
)
def test_no_places_for_mounts(target: str) -> None:
    with pytest.raises(UsageError):
        check_target(target)


def test_pairs() -> None:
    assert split("/a:b:/c") == ("/a:b", "/c")
    for pair in ("", ":", "a", "a:", ":/b"):
        with pytest.raises(UsageError):
            split(pair)


def test_the_registry_s_files() -> None:
    assert "10.0.0.1:5000" in registry_service("10.0.0.1").environment["REGISTRY_HTTP_ADDR"]
    assert json.loads(registry_configuration())["version"] == 0.1
    announced = hosting("10.0.0.1:5000")
    assert announced["metadata"] == {"name": "local-registry-hosting", "namespace": "kube-public"}
    assert announced["data"]["localRegistryHosting.v1"].count('"10.0.0.1:5000"') == 3
