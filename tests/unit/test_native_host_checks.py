"""What the native driver says about kernels, capabilities and address ranges."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from localk8s.drivers.native.host_checks import judge_addresses, judge_capabilities, judge_kernel, judge_release, look
from localk8s.drivers.native.kernel_modules import parse_modules
from localk8s.model.status import Severity
from localk8s.system.process import HostRunner

ALL = {"ipc", "mnt", "net", "pid", "uts", "user"}


def test_kernel() -> None:
    none = parse_modules("", "", "")
    assert judge_kernel(ALL, ["nodev", "overlay", "ext4"], none).severity is Severity.OK
    assert "pid namespaces" in judge_kernel(ALL - {"pid"}, ["overlay"], none).message
    lacking = judge_kernel(ALL, ["ext4"], none)
    assert (lacking.severity, lacking.fix) == (Severity.ERROR, "sudo modprobe overlay")


def test_a_module_that_is_not_loaded_yet_is_no_fault_of_the_kernel() -> None:
    loadable = parse_modules("", "", "kernel/fs/overlayfs/overlay.ko.xz:\n")
    assert judge_kernel(ALL, ["ext4"], loadable).severity is Severity.OK


def test_capabilities() -> None:
    assert judge_capabilities("CapEff:\t000001ffffffffff\n").severity is Severity.OK
    without = judge_capabilities(f"CapEff:\t{0x1FFFFFFFFFF & ~(1 << 24):016x}\n")
    assert without.severity is Severity.OK
    assert "SYS_RESOURCE" in without.message
    docker = judge_capabilities("CapEff:\t00000000a80425fb\n")
    assert docker.severity is Severity.ERROR
    assert "NET_ADMIN" in docker.message and "SYS_ADMIN" in docker.message
    assert judge_capabilities("CapEff:\t0000000000000000\n").severity is Severity.OK


def test_addresses() -> None:
    assert "10.83.0.0/24" in judge_addresses([]).message
    assert "10.83.1.0/24" in judge_addresses([IPv4Network("10.83.0.0/24")]).message
    assert judge_addresses([IPv4Network("10.0.0.0/8")]).severity is Severity.ERROR


def test_this_host_is_judged_without_an_exception() -> None:
    assert {finding.subject for finding in look(HostRunner())} >= {"kernel", "capabilities"}


@pytest.mark.parametrize(
    ("release", "serves"),
    [("6.18.44", True), ("5.6.0-1-amd64", True), ("5.4.0-200-generic", False), ("4.19.0", False), ("10.0", True), ("?", True)],
)
def test_a_kernel_that_is_too_old_is_told(release: str, serves: bool) -> None:
    found = judge_release(release)
    assert not found if serves else found[0].severity is Severity.ERROR and release in found[0].message
