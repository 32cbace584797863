"""The native driver: each node is a set of namespaces on this Linux host."""

from __future__ import annotations

from localk8s.drivers.base import Driver, DriverContext


def build(context: DriverContext) -> Driver:
    """The driver, ready to be asked."""
    from localk8s.drivers.native.driver import NativeDriver

    return NativeDriver(context)
