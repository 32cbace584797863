"""Which drivers there are: a lazy table, plugins beside it, the broken ones kept apart."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from localk8s.drivers.registry import BUILT_IN, ENTRY_POINTS, BrokenDriverError, Registry
from localk8s.model.errors import UsageError
from localk8s.system.environment import Environment
from localk8s.testing import FakeDriver
from localk8s.wiring import Installation


def plugins(**references: str) -> list[EntryPoint]:
    return [EntryPoint(name, reference, ENTRY_POINTS) for name, reference in references.items()]


def installation(registry: Registry, tmp_path: object) -> Installation:
    return Installation(Environment({"LOCALK8S_HOME": str(tmp_path)}), registry=registry)


def test_built_in_drivers_come_first_and_win_a_clash() -> None:
    registry = Registry(plugins=lambda: plugins(zebra="a:b", native="evil:build"))
    assert registry.names() == (*BUILT_IN, "zebra")
    assert [entry.reference for entry in registry.entries() if entry.name == "native"] == [BUILT_IN["native"]]


def test_plugins_are_not_looked_for_when_the_name_is_built_in(tmp_path: object) -> None:
    def never() -> list[EntryPoint]:
        raise AssertionError("looked for plugins")

    registry = Registry({"fake": "localk8s.testing:build"}, plugins=never)
    assert isinstance(installation(registry, tmp_path).driver("fake"), FakeDriver)


@pytest.mark.parametrize(
    "reference", ["no.such.module:build", "localk8s.testing:no_such_function", "localk8s.testing", ":", ""]
)
def test_a_broken_plugin_is_one_clear_error(tmp_path: object, reference: str) -> None:
    registry = Registry({}, plugins=lambda: plugins(bad=reference))
    with pytest.raises(BrokenDriverError, match="bad driver cannot be loaded"):
        installation(registry, tmp_path).driver("bad")


def test_an_unknown_name_lists_the_known_ones(tmp_path: object) -> None:
    with pytest.raises(UsageError, match="there are fake"):
        installation(Registry({"fake": "localk8s.testing:build"}, plugins=list), tmp_path).driver("nonesuch")


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_driver_is_built_without_touching_the_host(tmp_path: object, name: str) -> None:
    driver = installation(Registry(plugins=list), tmp_path).driver(name)
    assert driver.info.name == name
    assert driver.info.title
    assert list(tmp_path.iterdir()) == []  # type: ignore[attr-defined]
