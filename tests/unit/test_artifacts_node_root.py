"""A native node's root: what the packages' scripts would have done, and how its programs are run on any host."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from localk8s.artifacts.catalog import NODE_PACKAGES
from localk8s.artifacts.debian import remove, settle
from localk8s.artifacts.kinds import NodeRoot
from localk8s.artifacts.node_root import complete, drop_privileges, root_entry_name
from localk8s.drivers.native.host_programs import HostPrograms
from localk8s.drivers.native.host_settings import CERTIFICATES, LOCAL_TIME, host_settings
from localk8s.model.errors import CommandError
from localk8s.system.process import HostRunner

UNPACKED = {
    "usr/share/base-passwd/passwd.master": "root:*:0:0:root:/root:/bin/bash\n",
    "usr/share/base-passwd/group.master": "root:*:0:\n",
    "usr/share/libc-bin/nsswitch.conf": "passwd: files\n",
    "usr/share/base-files/profile": "umask 022\n",
    "usr/share/base-files/dot.bashrc": "",
    "usr/share/base-files/dot.profile": "",
    "usr/share/ca-certificates/mozilla/B.crt": "certificate b\n",
    "usr/share/ca-certificates/mozilla/A.crt": "certificate a",
    "usr/sbin/xtables-nft-multi": "",
    "usr/bin/busybox": "",
    "usr/bin/wget": "a wget of its own",
    "etc/skel/.profile": "",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in UNPACKED.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_root_gets_what_the_scripts_of_its_packages_would_have_made(root: Path) -> None:
    complete(root)
    assert (root / "etc/passwd").read_text().startswith("root:*:0:0:")
    assert (root / CERTIFICATES.lstrip("/")).read_text() == "certificate a\ncertificate b\n"
    assert (root / "usr/sbin/ip6tables-restore").readlink() == Path("xtables-nft-multi")
    assert (root / "usr/bin/vi").readlink() == Path("busybox")
    assert (root / "usr/bin/wget").read_text() == "a wget of its own"
    assert (root / "etc/mtab").readlink() == Path("../proc/self/mounts")


def test_no_program_of_a_root_changes_its_user(root: Path) -> None:
    (root / "usr/bin/busybox").chmod(0o4755)
    drop_privileges(root)
    assert stat.S_IMODE(os.stat(root / "usr/bin/busybox").st_mode) == 0o755


def test_a_root_whose_packages_have_one_usr_already_is_left_so(root: Path) -> None:
    (root / "usr/lib").mkdir()
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    settle(root)
    assert (root / "bin").readlink() == Path("usr/bin") and (root / "bin/busybox").is_file()


def test_what_is_removed_may_be_missing_a_link_that_leads_nowhere_or_a_directory(root: Path) -> None:
    (root / "etc/service").symlink_to("nowhere")
    remove(root, ("etc/service", "etc/none", "usr/share/base-*", "usr/none*"))
    assert not os.path.lexists(root / "etc/service")
    assert sorted(path.name for path in (root / "usr/share").iterdir()) == ["ca-certificates", "libc-bin"]


def test_another_suite_is_another_root() -> None:
    names = {root_entry_name(architecture, suite) for architecture in ("amd64", "arm64") for suite in ("trixie", "forky")}
    assert len(names) == 4 and all(name.startswith("debian/root-") for name in names)
    assert len(set(NODE_PACKAGES)) == len(NODE_PACKAGES)


def test_the_host_lends_its_time_zone_and_certificates(tmp_path: Path) -> None:
    assert host_settings(tmp_path) == {}
    zone, bundle = tmp_path / "etc/localtime", tmp_path / "etc/pki/tls/certs/ca-bundle.crt"
    bundle.parent.mkdir(parents=True)
    bundle.write_text("company")
    (tmp_path / "zone").write_text("TZif")
    zone.symlink_to(tmp_path / "zone")
    assert host_settings(tmp_path) == {LOCAL_TIME: b"TZif", CERTIFICATES: b"company"}
    (tmp_path / "etc/ssl/certs").mkdir(parents=True)
    (tmp_path / CERTIFICATES.lstrip("/")).write_text("")  # an empty bundle is none
    assert host_settings(tmp_path)[CERTIFICATES] == b"company"


def test_a_program_that_the_host_lacks_is_run_from_the_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = root / "usr/lib64/ld-linux-x86-64.so.2"
    (root / "usr/lib/x86_64-linux-gnu").mkdir(parents=True)
    loader.parent.mkdir()
    loader.write_text('#!/bin/sh\necho "$XTABLES_LIBDIR" "$@"\n')
    loader.chmod(0o755)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr("shutil.which", lambda name: None)
    programs = HostPrograms(HostRunner(), NodeRoot(root))
    libraries = f"{root}/usr/lib/x86_64-linux-gnu"
    expected = f"{libraries}/xtables --library-path {libraries} {root}/usr/sbin/xtables-nft-multi iptables -w -S\n"
    assert programs.run(["iptables", "-w", "-S"]).stdout == expected
    assert programs.run(["echo", "its own"]).stdout == "its own\n"
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/sbin/{name}")
    monkeypatch.setattr(HostRunner, "run", lambda self, argv, **more: (_ for _ in ()).throw(CommandError(argv, 1)))
    with pytest.raises(CommandError) as caught:
        programs.run(["iptables", "-S"])
    assert list(caught.value.argv) == ["iptables", "-S"]
