"""What is in each image that localk8s makes by itself: from the seven programs, Debian's packages and data of this package.

Owns the contents and start commands; writing them is ``archive.py``'s. Must not fetch anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from localk8s.artifacts.archive import Contents, RunConfig
from localk8s.artifacts.elf import library_closure
from localk8s.artifacts.kinds import ImageRole

RECIPE = "4"
"""Raised when an image is made in another way from the same files, so that cached ones are not used."""

_TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
_OWN = "/usr/lib/localk8s"
_PASSWD = ("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n", 0o644)
_GROUP = ("root:x:0:\nnogroup:x:65534:\n", 0o644)
_NSSWITCH = ("passwd: files\ngroup: files\nhosts: files dns\n", 0o644)
_ACCOUNTS = {"/etc/passwd": _PASSWD, "/etc/group": _GROUP, "/etc/nsswitch.conf": _NSSWITCH}
_TEMPORARY = {"/tmp": 0o1777}  # noqa: S108 - a path in the image
_APPLETS = (
    "[ ash awk base64 basename cat chmod chown clear cmp cp cut date dd df diff dirname dmesg du echo egrep env "
    "expr false fgrep find fold free getopt grep gunzip gzip head hexdump hostname httpd id ifconfig ip kill "
    "killall less ln ls md5sum mkdir mkfifo mknod mktemp more mount mv nc netstat nslookup od paste pidof ping "
    "ping6 printf ps pwd readlink realpath rev rm rmdir route sed seq setsid sh sha1sum sha256sum shuf sleep sort "
    "stat strings sync tail tar tee telnet test time timeout top touch tr traceroute traceroute6 true truncate tty "
    "umount uname uniq unlink uptime usleep vi wc wget which whoami xargs xxd yes zcat "
)
"""What the echo and DNS images have of busybox, so that they serve as a toolbox."""
_PYTHON_LEFT_OUT = re.compile(r"_(sqlite3|curses|dbm|gdbm|tkinter|ctypes_test|test|xx)|readline|nis|xx|ossaudio")


@dataclass(frozen=True, slots=True)
class Materials:
    """What images are made of."""

    programs: Path
    """Directory of the seven Kubernetes programs."""
    root: Path
    """The root file system of native nodes: one C library for them and for images."""
    architecture: str
    data: Path
    """This package's own scripts."""
    feeders: Mapping[str, Path]
    """The modules that run in the DNS image, by their path below a directory of packages."""


def recipe(role: ImageRole, materials: Materials) -> tuple[Contents, RunConfig]:
    """What the image for ``role`` holds and how it starts.

    Raises:
        ArtifactError: a library that a program needs is in none of the packages.
    """
    if role is ImageRole.PAUSE:
        return _pause(materials)
    if role is ImageRole.ECHO:
        return _echo(materials)
    if role is ImageRole.DNS:
        return _dns(materials)
    if role is ImageRole.ETCD:
        return _etcd(materials)
    if role is ImageRole.KUBE_PROXY:
        return _kube_proxy(materials)
    program = {f"/usr/local/bin/{role.value}": materials.programs / role.value}
    return Contents(program, _ACCOUNTS, directories=_TEMPORARY), RunConfig((role.value,))


def _pause(materials: Materials) -> tuple[Contents, RunConfig]:
    return Contents({"/pause": materials.root / "usr/bin/catatonit"}), RunConfig(("/pause", "-P"), user="65534:65534")


def _echo(materials: Materials) -> tuple[Contents, RunConfig]:
    files = {"/usr/bin/catatonit": materials.root / "usr/bin/catatonit", **_programs(("/usr/bin/tcpsvd",), materials)}
    files |= {f"{_OWN}/{name}": materials.data / name for name in ("echo-server.sh", "echo-handler.sh", "echo.awk")}
    busybox, links = _busybox(materials)
    run = RunConfig(("/usr/bin/catatonit", "--"), ("/bin/sh", f"{_OWN}/echo-server.sh"), ("PORT=8080",), ports=(8080,))
    return Contents({**files, **busybox}, _ACCOUNTS, links, _TEMPORARY), run


def _etcd(materials: Materials) -> tuple[Contents, RunConfig]:
    files = _programs(("/usr/bin/etcd", "/usr/bin/etcdctl"), materials)
    links = {"/usr/local/bin/etcd": "/usr/bin/etcd", "/usr/local/bin/etcdctl": "/usr/bin/etcdctl"}
    return Contents(files, _ACCOUNTS, {**_LINKS, **links}, _TEMPORARY), RunConfig(("/usr/bin/etcd",))


def _kube_proxy(materials: Materials) -> tuple[Contents, RunConfig]:
    triplet, sbin = _TRIPLETS[materials.architecture], "/usr/sbin"
    names = ("xtables-nft-multi", "xtables-legacy-multi", "conntrack")
    plugins = f"usr/lib/{triplet}/xtables"
    extra = sorted((materials.root / plugins).glob("*.so"))
    files = _programs((f"{sbin}/{name}" for name in names), materials, extra)
    files |= {"/usr/local/bin/kube-proxy": materials.programs / "kube-proxy", f"/{plugins}": materials.root / plugins}
    links = dict(_LINKS)
    for family in ("iptables", "ip6tables"):
        for action in ("", "-save", "-restore"):
            links[f"{sbin}/{family}{action}"] = "xtables-nft-multi"
            links[f"{sbin}/{family}-nft{action}"] = "xtables-nft-multi"
            links[f"{sbin}/{family}-legacy{action}"] = "xtables-legacy-multi"
    return Contents(files, _ACCOUNTS, links, {**_TEMPORARY, "/run": 0o755}), RunConfig(("/usr/local/bin/kube-proxy",))


def _dns(materials: Materials) -> tuple[Contents, RunConfig]:
    python = next((materials.root / "usr/lib").glob("python3.*"))
    modules = {
        f"/usr/lib/{python.name}/{file.relative_to(python).as_posix()}": file
        for file in sorted(python.rglob("*"))
        if file.is_file()
        and not file.is_symlink()
        and not _PYTHON_LEFT_OUT.match(file.name)
        and "__pycache__" not in file.parts
    }
    extensions = [file for path, file in modules.items() if "/lib-dynload/" in path]
    interpreter = f"/usr/bin/{python.name}"
    files = _programs(("/usr/sbin/named", "/usr/sbin/rndc", "/usr/bin/named-checkconf", interpreter), materials, extensions)
    files |= modules | {"/usr/bin/catatonit": materials.root / "usr/bin/catatonit"}
    files |= {f"{_OWN}/{name}": module for name, module in materials.feeders.items()}
    busybox, links = _busybox(materials)
    links["/usr/bin/python3"] = python.name
    directories = {**_TEMPORARY, "/run/named": 0o777, "/var/cache/bind": 0o777}
    feed = ("/usr/bin/python3", "-m", "localk8s.kube.dns_feed")
    run = RunConfig(("/usr/bin/catatonit", "--"), feed, (f"PYTHONPATH={_OWN}", "PYTHONDONTWRITEBYTECODE=1"), ports=(53,))
    return Contents({**files, **busybox}, _ACCOUNTS, links, directories), run


_LINKS: Mapping[str, str] = {"/bin": "usr/bin", "/sbin": "usr/sbin", "/lib": "usr/lib", "/lib64": "usr/lib64"}


def _busybox(materials: Materials) -> tuple[dict[str, Path], dict[str, str]]:
    links = {f"/usr/bin/{name}": "busybox" for name in _APPLETS.split()}
    # Not the static one: its C library would load parts of the image's newer one to look up a name, and crash.
    return _programs(("/usr/bin/busybox",), materials), {**_LINKS, **links}


def _programs(paths: Iterable[str], materials: Materials, more: Iterable[Path] = ()) -> dict[str, Path]:
    """Programs by their path in Debian, with their loader and libraries (all below ``/usr``: the rest are links)."""
    found = {path: materials.root / path[1:] for path in paths}
    libraries = library_closure([*found.values(), *more], (materials.root,), _TRIPLETS[materials.architecture])
    for path, file in libraries.items():
        found[path if path.startswith("/usr/") else f"/usr{path}"] = file
    return found
