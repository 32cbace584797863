"""What a native cluster keeps on disk: its directory, its own links to the programs, the nodes' disks.

``--disk-size`` is a real bound: the node's storage is a sparse file with a file system of that size, mounted in
the node's own mount namespace only.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from localk8s.artifacts.kinds import KUBERNETES_PROGRAMS, Image, ImageRole, KubernetesBinaries, NodeRoot
from localk8s.drivers.native.plan import ClusterPlan, NodePlan, decode_plan, encode_plan
from localk8s.model.errors import CommandError, Localk8sError, NotFoundError
from localk8s.model.hints import command, host_command
from localk8s.model.node import Runner
from localk8s.system.files import write_atomic
from localk8s.system.owner import make_owned, owner

_LISTED = "images.json"
_EXT4 = (
    "-q", "-F", "-t", "ext4", "-m", "0", "-O", "^orphan_file,^metadata_csum_seed",
    "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard",
)  # fmt: skip
"""Without the two features that kernels before 5.15 do not mount."""


@dataclass(frozen=True, slots=True)
class ClusterDirectory:
    """Names of everything that the driver keeps of one cluster."""

    path: Path

    @property
    def plan_file(self) -> Path:
        """The plan, written before anything of it is made."""
        return self.path / "plan.json"

    @property
    def kubernetes(self) -> Path:
        """The layer of the nodes' root with the Kubernetes programs, as links of its own: the cache may vanish."""
        return self.path / "kubernetes"

    @property
    def binaries(self) -> Path:
        """The Kubernetes programs."""
        return self.kubernetes / "usr/local/bin"

    @property
    def root(self) -> Path:
        """The lowest layer of the nodes' root, as links of its own; all nodes share it, and one page cache."""
        return self.path / "root"

    @property
    def images(self) -> Path:
        """The archives of the images that every node gets, as links of its own."""
        return self.path / "images"

    @property
    def init_script(self) -> Path:
        """What process 1 of each node runs while it sees the host."""
        return self.path / "node-init.sh"

    @property
    def boot_script(self) -> Path:
        """What process 1 of each node runs in the node's own root."""
        return self.path / "node-boot.sh"

    def node(self, node: NodePlan) -> Path:
        """The node's directory."""
        return self.path / "nodes" / node.name

    def given(self, node: NodePlan) -> Path:
        """Files that a boot of the node copies over its root."""
        return self.node(node) / "given"

    def disk_image(self, node: NodePlan) -> Path:
        """The node's disk, where its size is bounded."""
        return self.node(node) / "disk.img"

    def boot_log(self, node: NodePlan) -> Path:
        """What process 1 complained before its supervisor took over."""
        return self.node(node) / "boot.log"

    def load_plan(self) -> ClusterPlan:
        """The recorded plan.

        Raises:
            NotFoundError: there is none.
            Localk8sError: it cannot be read.
        """
        try:
            return decode_plan(self.plan_file.read_text())
        except FileNotFoundError:
            raise NotFoundError(f'There is no native cluster "{self.path.name}".') from None
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise Localk8sError(
                f'What the native driver keeps of cluster "{self.path.name}" cannot be read ({self.plan_file}).',
                hint=command("delete", cluster=self.path.name),
                details=str(exc),
            ) from exc

    def save_plan(self, plan: ClusterPlan) -> None:
        """Record ``plan``."""
        if owner() is not None:
            self._make_for_owner()
        write_atomic(self.plan_file, encode_plan(plan), mode=0o600 if owner() is None else 0o644)

    def _make_for_owner(self) -> None:
        """Root's directory among the user's: plan and kubectl can be read there, what is on the nodes' disks cannot."""
        make_owned(self.path.parent.parent, 0o700)
        for directory, mode in ((self.path.parent, 0o755), (self.path, 0o755), (self.path / "nodes", 0o700)):
            directory.mkdir(exist_ok=True)
            if directory.is_symlink() or directory.stat().st_uid != 0:
                raise Localk8sError(f"{directory} is not a directory of root's own.", hint=f"ls -ld {directory}")
            directory.chmod(mode)


def keep(directory: ClusterDirectory, binaries: KubernetesBinaries, root: NodeRoot, images: Sequence[Image]) -> None:
    """Link (or, across file systems, copy) what the cluster runs on into its own directory. Idempotent."""
    place = directory.binaries.relative_to(directory.kubernetes)
    programs = {str(place / name): binaries.directory / name for name in KUBERNETES_PROGRAMS}
    _keep(directory.kubernetes, lambda target: _link_files(programs, target))
    _keep(directory.root, lambda target: _link_tree(root.directory, target))
    _keep(directory.images, lambda target: _link_images(images, target))


def kept_images(directory: ClusterDirectory) -> tuple[Image, ...]:
    """The images that the cluster keeps; none unless it keeps all it runs on: then it needs no artifact any more."""
    if not (directory.kubernetes.is_dir() and directory.root.is_dir()):
        return ()
    try:
        listed = json.loads((directory.images / _LISTED).read_text())
        return tuple(Image(ImageRole(role), reference, directory.images / f"{role}.tar") for role, reference in listed.items())
    except (OSError, ValueError, AttributeError):
        return ()


def _keep(target: Path, fill: Callable[[Path], None]) -> None:
    if target.is_dir():
        return
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True, mode=0o755)
    fill(partial)
    partial.rename(target)


def _link_files(files: Mapping[str, Path], target: Path) -> None:
    for name, source in files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        _link(str(source), str(target / name))


def _link_images(images: Sequence[Image], target: Path) -> None:
    _link_files({f"{image.role}.tar": image.archive for image in images}, target)
    (target / _LISTED).write_text(json.dumps({image.role: image.reference for image in images}))


def _link_tree(source: Path, target: Path) -> None:
    """Links to all files below ``source``; thousands, while a user waits: without a look at what is no directory."""
    with os.scandir(source) as entries:
        for entry in entries:
            place = target / entry.name
            if entry.is_dir(follow_symlinks=False):
                place.mkdir(mode=0o755)
                _link_tree(Path(entry.path), place)
            else:
                _link(entry.path, str(place))


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
    return target


def prepare_disk(runner: Runner, root: NodeRoot, image: Path, size: int | None) -> None:
    """Make the node's disk, or let it grow to ``size`` bytes while it is not mounted. Idempotent, whole or not at all.

    Args:
        root: whose programs make it: the host need not have them.

    Raises:
        Localk8sError: no file system can be made (no space, no tools).
    """
    if size is None:
        return
    if image.exists():
        if image.stat().st_size < size:
            os.truncate(image, size)
            runner.run([*root.command("usr/sbin/e2fsck"), "-f", "-p", str(image)], check=False, timeout=300)
            runner.run([*root.command("usr/sbin/resize2fs"), str(image)], timeout=300)
        return
    partial = image.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with partial.open("wb") as file:
        file.truncate(size)
    try:
        runner.run([*root.command("usr/sbin/mke2fs"), *_EXT4, str(partial)], timeout=120)
    except CommandError as exc:
        partial.unlink(missing_ok=True)
        raise Localk8sError(
            f"The node's disk could not be made: {exc.message}", hint=host_command("doctor"), details=exc.details
        ) from exc
    partial.rename(image)


def has_failed_disk(process: int) -> bool:
    """Whether the disk of the node with this process 1 takes no more writes.

    The kernel makes a file system read-only when its journal cannot be written: here, because the disk below it was full.
    """
    try:
        device = os.stat(f"/proc/{process}/root/var/lib/containerd").st_dev
        mounts = Path(f"/proc/{process}/mountinfo").read_text()
    except OSError:
        return False
    return is_read_only(mounts, f"{os.major(device)}:{os.minor(device)}")


def is_read_only(mountinfo: str, device: str) -> bool:
    """Whether the file system on ``device`` (``7:3``) is read-only as a whole, by the text of a ``mountinfo`` (proc(5))."""
    for line in mountinfo.splitlines():
        mount, _, file_system = line.partition(" - ")
        if mount.split()[2:3] == [device] and {"ro", "emergency_ro"} & set(file_system.split()[-1].split(",")):
            return True
    return False
