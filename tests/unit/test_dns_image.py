"""The modules that the DNS image holds are all that the feeder needs, and the standard library."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from localk8s.artifacts.images import own_scripts


def test_the_feeder_runs_from_what_is_shipped_alone(tmp_path: Path) -> None:
    for name, module in own_scripts()[1].items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(module, tmp_path / name)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nfrom localk8s.kube.dns_feed import main; main(['--help'], {{}})"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and "--in-cluster" in done.stdout, done.stderr
