"""The Vagrant driver: several real machines, one kubeadm cluster."""

from __future__ import annotations

from localk8s.drivers.base import DriverContext
from localk8s.drivers.vagrant.driver import VagrantDriver


def build(context: DriverContext) -> VagrantDriver:
    """The driver, as the registry builds it."""
    return VagrantDriver(context)
