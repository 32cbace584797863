"""The part of Python's standard library that Debian's ``python3-minimal`` leaves out, as far as our own programs need it.

Owns which modules these are and where machines keep them. They are plain Python files of this host's own interpreter; what
a machine has already is left alone.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path

from localk8s.drivers.vagrant.node import SshNode, archive
from localk8s.drivers.vagrant.node_files import File
from localk8s.model.errors import CommandError, PrerequisiteError

PYTHON = "/usr/bin/python3"
LIBRARY = "/usr/local/lib/localk8s/python"
_NEEDED = "argparse, contextlib, gzip, hashlib, http.client, http.server, json, socketserver, ssl, subprocess, urllib.parse"
_LEFT_OUT = ("_compression", "gzip", "html", "http", "json", "mimetypes", "queue", "shutil", "socketserver")
_MISSING = """import importlib.util, sys
print(" ".join(name for name in sys.argv[1:] if importlib.util.find_spec(name) is None))"""


def ensure_library(node: SshNode) -> None:
    """Have a standard library on the machine, in ``LIBRARY`` what its Python lacks. Quick when it is there.

    Raises:
        PrerequisiteError: it cannot be had: there is no Python, or one that cannot use this host's modules.
    """
    check = [PYTHON, "-S", "-c", f"import {_NEEDED}"]
    environment = {"PYTHONPATH": LIBRARY}
    if node.run(check, env=environment, check=False).returncode == 0:
        return
    try:
        missing = node.run([PYTHON, "-S", "-c", _MISSING, *_LEFT_OUT]).stdout.split()
        files = {f"{LIBRARY}/{name}": File(content) for name, content in sources(missing).items()}
        node.run(["tar", "-C", "/", "--no-same-owner", "-xpf", "-"], input=archive(files))
        node.run(check, env=environment)
    except CommandError as exc:
        last = exc.details.strip().rpartition("\n")[2] or exc.message
        raise PrerequisiteError(
            f"Node {node.name} has no Python that runs localk8s's own programs: {last}",
            hint="install python3 on the node",
        ) from exc


def sources(modules: list[str]) -> dict[str, str]:
    """The files of ``modules`` (names of modules and packages) in this host's standard library, by path below it."""
    library = Path(sysconfig.get_path("stdlib"))
    found = {}
    for name in modules:
        package = library / name
        files = sorted(package.rglob("*.py")) if package.is_dir() else [library / f"{name}.py"]
        found.update(
            {file.relative_to(library).as_posix(): file.read_text(encoding="utf-8") for file in files if file.is_file()}
        )
    return found
