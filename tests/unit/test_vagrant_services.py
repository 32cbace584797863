"""Units of machines' services, and the part of Python that machines lack."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from localk8s.drivers.base import NodeService
from localk8s.drivers.service_script import service_script
from localk8s.drivers.vagrant.providers import PROVIDERS
from localk8s.drivers.vagrant.python_library import _LEFT_OUT, sources
from localk8s.drivers.vagrant.services import Services, unit_file
from localk8s.model.errors import NotSupportedError


def test_a_unit_comes_back_with_the_machine_and_keeps_what_it_printed() -> None:
    lines = unit_file(NodeService("docker", ("dockerd",))).splitlines()
    assert "StandardOutput=append:/var/log/localk8s/docker/current" in lines
    assert {"WantedBy=multi-user.target", "Restart=always", "Delegate=yes"} <= set(lines)
    assert "ExecStart=/bin/sh /usr/local/lib/localk8s/docker" in lines


def test_a_script_becomes_the_program_with_its_variables_and_arguments_as_they_are(tmp_path: Path) -> None:
    hostile = 'it\'s $HOME "and" `more`\n'
    script = service_script(("printf", "%s|%s", hostile, "$A"), {"A": hostile}, ('printf "%s" "$A"',), before=("echo first",))
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"first\n{hostile}{hostile}|$A"


def test_what_machines_lack_of_python_are_plain_modules() -> None:
    found = sources(list(_LEFT_OUT))
    assert {"json/__init__.py", "http/server.py", "socketserver.py", "gzip.py"} <= set(found)
    assert sources(["_no_such_module"]) == {}
    for name, text in found.items():
        compile(text, name, "exec")


def test_a_virtual_machine_takes_no_mount_and_a_container_does() -> None:
    def cluster(provider: str) -> Any:
        return SimpleNamespace(provider=PROVIDERS[provider])

    Services._insist_shared_kernel(cluster("lxc"), "one")
    for provider in set(PROVIDERS) - {"lxc"}:
        with pytest.raises(NotSupportedError) as caught:
            Services._insist_shared_kernel(cluster(provider), "one")
        assert caught.value.hint == "localk8s cp --help"
