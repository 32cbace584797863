"""Which kernel modules are loaded before a cluster is made: only those that are missing and can be loaded."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from localk8s.drivers.native import kernel_modules
from localk8s.drivers.native.kernel_modules import WANTED, load_modules, parse_modules, read_modules
from localk8s.model.errors import PrerequisiteError
from localk8s.model.node import Completed

LOADED = "bridge 315392 1 br_netfilter, Live 0x0000000000000000\nnf_nat 61440 0 - Live 0x0\n"
BUILTIN = "kernel/drivers/block/loop.ko\nkernel/net/netfilter/nf_conntrack.ko\n"
DEPENDENCIES = """kernel/fs/overlayfs/overlay.ko.xz:
kernel/drivers/net/veth.ko.zst: kernel/net/core/page_pool.ko.zst
kernel/net/netfilter/xt-comment.ko: kernel/net/netfilter/x_tables.ko
"""


class Modprobe:
    """Notes what it is asked to run; can be missing."""

    def __init__(self, *, missing: bool = False) -> None:
        self.asked: list[Sequence[str]] = []
        self._missing = missing

    def run(self, argv: Sequence[str], **_: Any) -> Completed:
        if self._missing:
            raise PrerequisiteError("modprobe is not installed.")
        self.asked.append(argv)
        return Completed(tuple(argv), 0, "", "")


def test_what_is_loaded_built_in_or_not_there_at_all_is_not_loaded() -> None:
    modules = parse_modules(LOADED, BUILTIN, DEPENDENCIES)
    assert modules.missing() == ("overlay", "veth", "xt_comment")
    assert all(modules.offers(name) for name in ("overlay", "loop", "bridge", "xt_comment"))
    assert not modules.offers("page_pool") and not modules.offers("nft_compat")


def test_names_of_what_a_module_depends_on_are_not_taken_for_modules_of_their_own() -> None:
    assert parse_modules("", "", DEPENDENCIES).loadable == {"overlay", "veth", "xt_comment"}


def test_the_running_kernel_is_read_and_modprobe_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "lib/modules" / platform.release()
    directory.mkdir(parents=True)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/modules").write_text(LOADED)
    (directory / "modules.builtin").write_text(BUILTIN)
    (directory / "modules.dep").write_text(DEPENDENCIES)
    found = read_modules(tmp_path)
    assert found == parse_modules(LOADED, BUILTIN, DEPENDENCIES)
    monkeypatch.setattr(kernel_modules, "read_modules", lambda: found)
    runner = Modprobe()
    load_modules(runner)  # type: ignore[arg-type]
    assert runner.asked == [["modprobe", "-a", "-q", "overlay", "veth", "xt_comment"]]


@pytest.mark.parametrize("missing", [False, True])
def test_nothing_is_run_where_nothing_is_missing_and_no_modprobe_is_no_error(
    missing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "" if missing else "".join(f"{name} 1 0 - Live 0x0\n" for name in WANTED)
    found = parse_modules(text, "", DEPENDENCIES if missing else "")
    monkeypatch.setattr(kernel_modules, "read_modules", lambda: found)
    runner = Modprobe(missing=missing)
    load_modules(runner)  # type: ignore[arg-type]
    assert runner.asked == []
