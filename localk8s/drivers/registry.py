"""Which drivers there are, and how one is built. The only module that knows their names.

Built-in drivers are a static table of lazy references; they win a clash of names. Others come by the entry-point
group ``localk8s.drivers`` (name -> ``module:function``). A plugin that cannot be loaded is shown as broken and
never keeps the others from working.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, cast

from localk8s.drivers.base import Driver, DriverContext
from localk8s.model.errors import PrerequisiteError, UsageError
from localk8s.model.hints import host_command, instead

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint  # its import costs 20 ms

ENTRY_POINTS = "localk8s.drivers"

BUILT_IN: Mapping[str, str] = {
    "native": "localk8s.drivers.native:build",
    "minikube": "localk8s.drivers.minikube:build",
    "vagrant": "localk8s.drivers.vagrant:build",
}
"""In the order in which this host is asked whether it can run them, when nobody chose one."""


class BrokenDriverError(PrerequisiteError):
    """A driver is installed but cannot be loaded."""

    code = "broken_driver"


@dataclass(frozen=True, slots=True)
class DriverEntry:
    """A driver that can be asked for by name."""

    name: str
    reference: str
    """``module:function``; the function takes a ``DriverContext``."""
    plugin: bool


class Registry:
    """The drivers of this installation.

    Args:
        built_in: name -> ``module:function``.
        plugins: gives the entry points of other packages; asked once, and only when a name is not built in
            or all names are wanted.
    """

    def __init__(
        self,
        built_in: Mapping[str, str] = BUILT_IN,
        plugins: Callable[[], Iterable[EntryPoint]] | None = None,
    ) -> None:
        self._built_in = built_in
        self._plugins = plugins or _installed
        self._found: dict[str, DriverEntry] | None = None

    def names(self) -> tuple[str, ...]:
        """All names, built-in ones first."""
        return tuple(entry.name for entry in self.entries())

    def entries(self) -> tuple[DriverEntry, ...]:
        """All drivers, built-in ones first, plugins by name; loads none of them."""
        own = (DriverEntry(name, reference, plugin=False) for name, reference in self._built_in.items())
        return (*own, *(entry for name, entry in sorted(self._others().items()) if name not in self._built_in))

    def build(self, name: str, context: DriverContext) -> Driver:
        """The driver called ``name``.

        Raises:
            UsageError: there is none.
            BrokenDriverError: it cannot be loaded.
        """
        reference = self._built_in.get(name)
        if reference is None:
            entry = self._others().get(name)
            if entry is None:
                known = ", ".join(self.names())
                raise UsageError(f"There is no driver {name!r}: there are {known}.", hint=instead("--driver", "native"))
            reference = entry.reference
        return self._load(name, reference)(context)

    def _load(self, name: str, reference: str) -> Callable[[DriverContext], Driver]:
        module, _, function = reference.partition(":")
        try:
            return cast("Callable[[DriverContext], Driver]", getattr(import_module(module), function))
        except Exception as exc:  # a plugin may fail in any way while it is imported
            raise BrokenDriverError(
                f"The {name} driver cannot be loaded ({reference}): {type(exc).__name__}: {exc}.",
                hint=host_command("doctor"),
            ) from exc

    def _others(self) -> dict[str, DriverEntry]:
        if self._found is None:
            self._found = {point.name: DriverEntry(point.name, point.value, plugin=True) for point in self._plugins()}
        return self._found


def _installed() -> Iterable[EntryPoint]:
    from importlib.metadata import entry_points

    return entry_points(group=ENTRY_POINTS)
