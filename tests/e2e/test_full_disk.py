"""Full disks for real: a home with a file system of its own of 3 GiB fills up while images come in, etcd writes, docker builds.

Each time: one sentence and exit code 5 that say what is full; after room is made nothing is lost and nothing half made.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from localk8s_door import RealDoor, traces
from small_images import busybox_layer, write_image

from localk8s.system.wait import wait_until

pytestmark = pytest.mark.real
MIB = 1 << 20


class SmallHome(RealDoor):
    """The real command line with a home on a disk that can be filled, in a mount namespace of its own.

    Other clusters that start meanwhile take over all mounts of this host: this one is none of them.
    """

    def __init__(self, place: Path) -> None:
        home = place / "home"
        home.mkdir()
        super().__init__(home)
        image = place / "image"
        with image.open("wb") as file:
            file.truncate(3 << 30)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-F", str(image)], check=True)
        script = 'mount -n -o loop "$1" "$2" && echo mounted && exec sleep infinity'
        argv = ["unshare", "--mount", "sh", "-c", script, "sh", str(image), str(home)]
        self._holder = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert self._holder.stdout is not None and self._holder.stdout.readline() == "mounted\n"
        self.inside = Path(f"/proc/{self._holder.pid}/root{home}")

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", *super()._command(arguments)]

    def fill(self, leave: int) -> None:
        """Take all room but ``leave`` bytes."""
        state = os.statvfs(self.inside)
        with (self.inside / "filling").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, state.f_bavail * state.f_frsize - leave)

    def make_room(self) -> None:
        (self.inside / "filling").unlink(missing_ok=True)

    def refuse(self, *arguments: str, timeout: float = 120) -> None:
        """Run a command that must fail on the full disk, and say so."""
        said = self.fail(*arguments, code=5, timeout=timeout)
        assert f"free on {self.home}, which keeps" in said and "error: The disk is full: " in said, said

    def close(self) -> None:
        self._holder.kill()
        self._holder.communicate()  # and let go of its output


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallHome]:
    door = SmallHome(tmp_path_factory.mktemp("disk"))
    try:
        door.do("start", "--disk-size", "2g")
        yield door
        door.make_room()
        door.do("delete", "--yes")
        left = traces(door)
        assert not (left.processes | left.loops | left.groups), left
        assert not list(door.inside.glob("data/native/*"))
    finally:
        door.make_room()
        door.run("delete", "--yes")
        door.close()


@pytest.fixture(autouse=True)
def _room(small: SmallHome) -> Iterator[None]:
    yield
    small.make_room()


def test_full_at_the_start_is_refused(small: SmallHome) -> None:
    small.fill(1500 * MIB)
    said = small.fail("start", "-c", "second", code=5)
    assert "of disk are free where clusters are kept" in said
    assert small.run("status", "-c", "second").returncode == 3
    small.make_room()


def test_full_while_an_image_comes_in(small: SmallHome, tmp_path: Path) -> None:
    identity = write_image(tmp_path / "big.tar", "big:1", busybox_layer(), {"data": os.urandom(200 * MIB)})
    small.fill(100 * MIB)
    small.refuse("image", "load", str(tmp_path / "big.tar"))
    small.make_room()
    assert "big" not in small.do("image", "ls")
    small.do("image", "load", str(tmp_path / "big.tar"))
    assert identity in small.do("image", "ls", "-o", "json")
    small.kubectl("run", "big", "--image", "big:1", "--restart", "Never")
    small.kubectl("wait", "--for", "condition=Ready", "pod/big", "--timeout", "60s")
    small.do("image", "rm", "big:1") if small.kubectl("delete", "pod", "big", "--now") else None


def test_full_while_etcd_writes_loses_nothing_that_was_acknowledged(small: SmallHome, tmp_path: Path) -> None:
    (tmp_path / "data").write_text(os.urandom(200_000).hex())
    small.fill(4 * MIB)
    acknowledged = []
    for number in range(40):
        made = small.run(
            "kubectl", "--", "create", "configmap", f"c{number}", f"--from-file={tmp_path}/data", "--request-timeout", "10s"
        )
        if made.returncode == 0:
            acknowledged.append(f"c{number}")
        else:
            break
    reasons = " ".join(small.status()["reasons"])
    assert f"free on {small.home}, which keeps the cluster" in reasons
    small.refuse("start")
    small.make_room()
    small.do("start")
    status = small.status()
    assert status["state"] == "running", status
    there = {
        item["metadata"]["name"]: item["data"]["data"] for item in small.objects("configmaps") if "data" in item.get("data", {})
    }
    assert set(acknowledged) <= set(there)
    assert set(there.values()) <= {(tmp_path / "data").read_text()}


def test_full_while_docker_builds(small: SmallHome, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY data /data\n")
    (tmp_path / "data").write_bytes(os.urandom(150 * MIB))
    small.do("image", "build", "-q", "-t", "first", str(tmp_path), stdin="")
    (tmp_path / "data").write_bytes(os.urandom(200 * MIB))
    small.fill(80 * MIB)
    small.refuse("image", "build", "-t", "built", str(tmp_path))
    small.make_room()
    small.do("start")
    small.do("image", "build", "-q", "-t", "built", str(tmp_path))

    def there() -> bool:
        listed = json.loads(small.do("image", "ls", "-o", "json"))["items"]
        return "docker.io/library/built:latest" in {item["name"] for item in listed}

    wait_until(there, what="what docker built", timeout=60, interval=0.5)


def test_stopped_and_deleted_while_full(small: SmallHome) -> None:
    small.fill(4 * MIB)
    small.do("stop")
    small.refuse("start")
    small.make_room()
    small.do("start")
    status = small.status()
    assert status["state"] == "running", status
    small.fill(4 * MIB)
    small.do("delete", "--yes")
    small.make_room()
