"""The root file system of native nodes: a whole Debian made of packages, without running a script of theirs.

Owns what is in it and what the packages' scripts would have done: accounts, alternatives, the certificate bundle, Python's
compiled modules, the loader's cache. It holds files and links; a node makes its own directories for data at its boot.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from localk8s.artifacts.apt import Package
from localk8s.artifacts.catalog import NODE_PACKAGES
from localk8s.artifacts.debian import remove, unpack_packages
from localk8s.artifacts.kinds import NodeRoot
from localk8s.model.progress import Step
from localk8s.system.process import HostRunner

ROOT = "root"
"""The directory of the cache entry that becomes a node's ``/``."""
_RECIPE = "1"
"""Raised when the same packages are made a root in another way, so that old entries are not used."""

_WANTED_SECTIONS = {"libs", "oldlibs", "python"}
_WANTED = re.compile(r"python3\.\d+(-minimal)?|openssl-provider-legacy|dns-root-data")
_UNNEEDED = re.compile(r"lib(perl|pam-|semanage|sepol|gdbm|db5|debconf)|perl|gcc-\d+-base")
_STRIPPED = (
    "boot", "dev", "home", "media", "mnt", "opt", "proc", "run", "srv", "sys", "tmp", "var",
    "etc/cron.d", "etc/init.d", "etc/insserv.conf.d", "etc/network", "etc/ppp", "etc/service", "etc/sv", "etc/ufw",
    "usr/games", "usr/src", "usr/lib/sysusers.d", "usr/lib/tmpfiles.d", "usr/lib/udev", "usr/lib/valgrind",
    "usr/share/applications", "usr/share/apport", "usr/share/bash-completion", "usr/share/doc-base", "usr/share/fish",
    "usr/share/gcc", "usr/share/gdb", "usr/share/initramfs-tools", "usr/share/menu", "usr/share/metainfo",
    "usr/share/pixmaps", "usr/share/zsh",
    "usr/lib/python3*/ensurepip", "usr/lib/python3*/idlelib", "usr/lib/python3*/test", "usr/lib/python3*/pydoc_data",
    "usr/lib/python3*/tkinter", "usr/lib/python3*/turtledemo", "usr/lib/python3*/config-*", "usr/lib/python3*/**/__pycache__",
)  # fmt: skip
_TABLES = tuple(f"{family}{action}" for family in ("iptables", "ip6tables") for action in ("", "-save", "-restore"))
_ALTERNATIVES = {
    **{f"usr/sbin/{name}": "xtables-nft-multi" for name in (*_TABLES, "ebtables", "arptables")},
    "usr/bin/awk": "mawk",
    "usr/bin/editor": "nano",
    "usr/bin/pager": "less",
    "usr/bin/which": "which.debianutils",
    **{f"usr/bin/{name}": "busybox" for name in ("nc", "nslookup", "telnet", "traceroute", "vi", "wget")},
}
"""What update-alternatives would link, and what busybox adds to a machine."""
_COPIES = {
    "etc/passwd": "usr/share/base-passwd/passwd.master",
    "etc/group": "usr/share/base-passwd/group.master",
    "etc/nsswitch.conf": "usr/share/libc-bin/nsswitch.conf",
    "etc/profile": "usr/share/base-files/profile",
    "root/.bashrc": "usr/share/base-files/dot.bashrc",
    "root/.profile": "usr/share/base-files/dot.profile",
}
_CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"


def root_entry_name(architecture: str, suite: str) -> str:
    """The cache entry's name; another list of packages or another recipe makes another entry."""
    wanted = " ".join((_RECIPE, *NODE_PACKAGES))
    return f"debian/root-{suite}-{architecture}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"


def make_root(work: Path, suite: str, runner: HostRunner, step: Step) -> Mapping[str, str]:
    """Fill ``work/out`` with a node's root; returns what to record.

    Args:
        work: a directory of its own.
        suite: of Debian; empty where this host has no Debian's apt.

    Raises:
        Unavailable: this host is no Debian.
        ArtifactError: the archive cannot be reached, has no such suite, or a package is not what its signed list says.
    """
    root = work / "out" / ROOT
    packages = unpack_packages(work, suite, runner, step, NODE_PACKAGES, select_packages, root)
    step.progress(1, 1, "making the nodes' root file system")
    remove(root, _STRIPPED)
    complete(root)
    runner.run([str(root / "usr/sbin/ldconfig"), "-r", str(root), "-X"], timeout=60)
    compile_modules(root, runner)
    remove(root, ("var",))  # ldconfig's notes for itself
    drop_privileges(root)
    return {"source": f"Debian {suite}", "packages": packages}


def select_packages(closure: Iterable[Package]) -> tuple[Package, ...]:
    """Of everything apt would install: what was asked for, and libraries. The rest is for installing and removing packages."""
    asked = {*NODE_PACKAGES}
    return tuple(
        package
        for package in closure
        if package.name in asked
        or _WANTED.fullmatch(package.name)
        or (package.section in _WANTED_SECTIONS and not _UNNEEDED.match(package.name))
    )


def complete(root: Path) -> None:
    """Accounts, name service, shell, alternatives and certificates, as the packages' scripts make them."""
    for name, source in _COPIES.items():
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(root / source, root / name)
    for name, leads_to in _ALTERNATIVES.items():
        link = root / name
        if not link.is_symlink() and not link.exists():
            link.symlink_to(leads_to)
    (root / "etc/mtab").unlink(missing_ok=True)
    (root / "etc/mtab").symlink_to("../proc/self/mounts")
    (root / "etc/shells").write_text("/bin/sh\n/bin/bash\n")
    trusted = sorted((root / "usr/share/ca-certificates").rglob("*.crt"))
    (root / _CERTIFICATES).parent.mkdir(parents=True, exist_ok=True)
    (root / _CERTIFICATES).write_text("".join(path.read_text().rstrip() + "\n" for path in trusted))
    remove(root, ("usr/share/ca-certificates",))


def compile_modules(root: Path, runner: HostRunner) -> None:
    """Compile Python's modules by the root's own Python, so that no node has to: their source is not looked at again."""
    library = next((root / "usr/lib").glob("python3.*"))
    argv = [*NodeRoot(root).command(f"usr/bin/{library.name}"), "-E", "-S", "-m", "compileall", "-q"]
    argv += ["--invalidation-mode", "unchecked-hash", "-s", str(root), "-p", "/", str(library)]
    runner.run(["env", f"PYTHONHOME={root}/usr", *argv], timeout=600)


def drop_privileges(root: Path) -> None:
    """Let no program change its user: on a node everything that may is root already."""
    for path in root.rglob("*"):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode) and mode & 0o7000:
            path.chmod(stat.S_IMODE(mode) & 0o777)
