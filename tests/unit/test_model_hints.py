"""Spelling commands for hints: which cluster they hit as pasted."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest

from localk8s.model.hints import command, host_command, set_bare_cluster


@pytest.fixture(autouse=True)
def _bare() -> Iterator[None]:
    set_bare_cluster(None)
    yield
    set_bare_cluster(None)


def test_the_default_cluster_needs_no_name_and_every_other_has_one() -> None:
    """As people type it."""
    assert command("start", cluster="default") == "localk8s start"
    assert command("node delete", "two-2", cluster="two") == "localk8s node delete -c two two-2"
    assert command("kubectl", "get", "nodes", cluster="two") == "localk8s kubectl -c two get nodes"


def test_where_a_bare_command_means_another_cluster_the_default_one_is_named_too() -> None:
    """Else a hint about "default" would hit the cluster of LOCALK8S_CLUSTER."""
    set_bare_cluster("work")
    assert command("delete", cluster="default") == "localk8s delete -c default"
    assert command("delete", cluster="work") == "localk8s delete -c work"
    set_bare_cluster("default")
    assert command("delete", cluster="default") == "localk8s delete"


def test_arguments_are_quoted_for_a_shell() -> None:
    """Whatever a user typed comes out as one word."""
    hostile = "a b; rm -rf $HOME `id` 'x' \"y\" *"
    assert shlex.split(command("image pull", hostile, cluster="two")) == ["localk8s", "image", "pull", "-c", "two", hostile]


@pytest.mark.parametrize("verb", ["delete", "node delete", "image rm"])
def test_no_hint_confirms_a_deletion(verb: str) -> None:
    """Pasted, it asks."""
    for yes in ("--yes", "-y"):
        assert command(verb, yes, cluster="two") == f"localk8s {verb} -c two"
    assert host_command("cache delete", "--all", "--yes") == "localk8s cache delete --all"
    assert host_command("setup", "--driver", "native", "--yes") == "localk8s setup --driver native --yes"
