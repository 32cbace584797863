"""What the tests of images, docker, mirrors and mounts have in common: the command line, a cluster, small images."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from localk8s.system.paths import find_roots

BUSYBOX = find_roots(os.environ).cache / "test-tools/busybox/bin/busybox"
"""A static one, the only program of the images (scripts/test-tools)."""
LOCALK8S = Path(sys.executable).with_name("localk8s")


class CommandLine:
    """localk8s as a user types it, with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        cache = os.environ.get("LOCALK8S_CACHE", str(Path.home() / ".cache/localk8s"))
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("LOCALK8S_", "DOCKER_"))},
            "LOCALK8S_HOME": str(home),
            "LOCALK8S_CACHE": cache,
            "LOCALK8S_OFFLINE": "1",
            "KUBECONFIG": str(home / "kubeconfig"),
        }

    def __call__(
        self, *arguments: str, code: int = 0, input: bytes | None = None, timeout: float = 300
    ) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            [str(LOCALK8S), *arguments], env=self.environment, input=input, capture_output=True, timeout=timeout, check=False
        )
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout.decode()}\n{done.stderr.decode()}"
        return done

    def out(self, *arguments: str) -> str:
        return self(*arguments).stdout.decode()


def write_image(path: Path, name: str, *layers: dict[str, bytes], command: tuple[str, ...] = ("sleep", "3600")) -> str:
    """Write a docker archive; returns the image's id."""
    blobs = [_layer(each) for each in layers]
    digests = [hashlib.sha256(blob).hexdigest() for blob in blobs]
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["/bin/busybox", *command]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{each}" for each in digests]},
        }
    ).encode()
    identity = hashlib.sha256(config).hexdigest()
    listing = [{"Config": f"{identity}.json", "RepoTags": [name], "Layers": [f"{each}/layer.tar" for each in digests]}]
    with tarfile.open(path, "w") as tar:
        for digest, blob in zip(digests, blobs, strict=True):
            _add(tar, f"{digest}/layer.tar", blob)
        _add(tar, f"{identity}.json", config)
        _add(tar, "manifest.json", json.dumps(listing).encode())
    return f"sha256:{identity}"


def busybox_layer() -> dict[str, bytes]:
    return {"bin/busybox": BUSYBOX.read_bytes(), "bin/sh": BUSYBOX.read_bytes()}


def _layer(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            _add(tar, name, data)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o755
    tar.addfile(info, io.BytesIO(data))


def run_pod(cli: CommandLine, name: str, image: str, node: str, *, seconds: float = 60, command: tuple[str, ...] = ()) -> None:
    """Run a pod that may not pull, on one node, and wait until it runs."""
    spec = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {"name": "one", "image": image, "imagePullPolicy": "Never", **({"command": list(command)} if command else {})}
            ],
        },
    }
    cli("kubectl", "apply", "-f", "-", input=json.dumps(spec).encode())
    deadline = time.monotonic() + seconds
    while (phase := cli.out("kubectl", "get", "pod", name, "-o", "jsonpath={.status.phase}")) not in ("Running", "Succeeded"):
        assert time.monotonic() < deadline, phase + cli.out("kubectl", "describe", "pod", name)
        time.sleep(0.2)


def alone() -> None:
    """Refuse to run where packets could leave the machine: these tests belong into a network namespace of their own."""
    links = json.loads(subprocess.run(["ip", "-j", "link"], capture_output=True, check=True).stdout)
    assert not [link for link in links if link["ifname"].startswith(("eth", "en"))], "run this by make real"
