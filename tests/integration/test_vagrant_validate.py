"""Every rendering is accepted by the real Vagrant, without any provider; and what it prints is nothing of ours."""

from __future__ import annotations

import os
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

from localk8s.drivers.vagrant.plan import ClusterPlan, choose_network
from localk8s.drivers.vagrant.providers import PROVIDERS
from localk8s.drivers.vagrant.vagrantfile import Box, HostTraits, render_vagrantfile, ruby
from localk8s.model.quantities import GIB
from localk8s.model.spec import NodeSize

pytestmark = pytest.mark.skipif(shutil.which("vagrant") is None, reason="vagrant is not installed")
HOSTILE = "it's #{1 + 1} \\ \"x\" \\' $HOME"


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_vagrant_validates(provider: str, tmp_path: Path) -> None:
    plan = ClusterPlan("demo", "abcdef", provider, choose_network((), provider), (1,), (2, 3))
    size = NodeSize(Decimal(2), 2 * GIB, 20 * GIB)
    box = Box(HOSTILE, own=PROVIDERS[provider].builds_box, kernel=HOSTILE, initrd=HOSTILE)
    (tmp_path / "Vagrantfile").write_text(render_vagrantfile(plan, PROVIDERS[provider], size, box, HostTraits()))
    environment = {**os.environ, "VAGRANT_HOME": str(tmp_path / "home"), "VAGRANT_CHECKPOINT_DISABLE": "1"}
    done = subprocess.run(
        ["vagrant", "validate", "--ignore-provider"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "Vagrantfile validated successfully."


@pytest.mark.skipif(shutil.which("ruby") is None, reason="ruby is not installed")
@pytest.mark.parametrize("text", ["", "plain", HOSTILE, "\\", "'", "\\'", "a\nb", "#{exit 1}", "ünï", "\\\\'"])
def test_ruby_reads_the_text_back(text: str) -> None:
    script = f"# encoding: utf-8\nSTDOUT.write({ruby(text)})"
    done = subprocess.run(["ruby", "-Ku", "-e", script], capture_output=True, timeout=60, check=True)
    assert done.stdout.decode() == text
