"""Spelling commands for hints: which cluster they hit as pasted."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest

from localk8s.model.hints import Correction, as_root, command, completed, corrected, host_command, instead, set_bare_cluster


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


_OPTIONS = ("--cluster", "-c", "--nodes", "--memory", "--driver-option")


@pytest.mark.parametrize(
    ("typed", "correction", "line"),
    [
        ("start -c two --nodes 3 --memory 5", instead("--memory", "2g"), "localk8s start -c two --nodes 3 --memory 2g"),
        ("start --memory=5 -c two", instead("--memory", "2g"), "localk8s start --memory=2g -c two"),
        ("start -c two", instead("--memory", "2g"), "localk8s start -c two --memory 2g"),
        ("start --memory 1 --memory 5", instead("--memory", "2g"), "localk8s start --memory 1 --memory 2g"),
        ("start", instead("--nodes", "3", "--memory", "2g"), "localk8s start --nodes 3 --memory 2g"),
        (
            "start --driver-option a=1",
            instead("--driver-option", "b=2"),
            "localk8s start --driver-option a=1 --driver-option b=2",
        ),
        ("start --driver-option b=1", instead("--driver-option", "b=2"), "localk8s start --driver-option b=2"),
        ("start --driver-option=b=1", instead("--driver-option", "b=2"), "localk8s start --driver-option=b=2"),
        ("start --memory --memory", instead("--memory", "2g"), "localk8s start --memory 2g"),
        ("start --memory", instead("--memory", "2g"), "localk8s start --memory 2g"),
        ("ssh -c two -- ls", instead("--memory", "2g"), "localk8s ssh -c two --memory 2g -- ls"),
        ("mount -c two /tmp", instead(".:/src", of="/tmp"), "localk8s mount -c two .:/src"),
        ("mount -c two x", instead(".:/src", of="/tmp"), None),
        ("setup", instead("--artifacts", "DIRECTORY"), None),
        ("start -c two --nodes 3", as_root("localk8s start"), "sudo localk8s start -c two --nodes 3"),
        ("start", instead("--memory", "2g", after="curl x"), "curl x && localk8s start --memory 2g"),
        ("delete -c two --yes --memory 1", instead("--memory", "2g"), "localk8s delete -c two --memory 2g"),
        ("node delete two-2 -y", as_root("localk8s node delete"), "sudo localk8s node delete two-2"),
    ],
)
def test_a_correction_changes_the_line_that_was_typed(typed: str, correction: Correction, line: str | None) -> None:
    """So everything else that was asked for stays, the cluster too."""
    assert corrected(typed.split(), correction, _OPTIONS) == line


def test_where_nothing_was_typed_options_become_a_command() -> None:
    """What doctor finds is about a start."""
    assert completed(instead("--memory", "2g"), "start", "--driver", "x", cluster="two") == (
        "localk8s start -c two --driver x --memory 2g"
    )
    for other in (as_root("localk8s start"), instead("a", of="b"), "df -h"):
        assert completed(other, "start", cluster="two") == str(other)
