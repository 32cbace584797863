"""Builds boxes from Debian's packages, Kubernetes' programs and images, and keeps them by their content's key.

A box is a directory that Vagrant takes as one of its own (``boxes/NAME/VERSION/PROVIDER``), complete or not there
at all. ``pack`` makes the single file of it that ``vagrant box add`` takes elsewhere. Must not know clusters.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from localk8s.artifacts.base import Artifacts
from localk8s.artifacts.kinds import Image, ImageRole, KubernetesBinaries
from localk8s.drivers.vagrant import box_files
from localk8s.drivers.vagrant.node_files import PROGRAMS, File
from localk8s.model.errors import CommandError, NotSupportedError, PrerequisiteError
from localk8s.model.hints import as_root, host_command
from localk8s.model.progress import Step
from localk8s.model.versions import KubernetesVersion
from localk8s.system.files import write_atomic
from localk8s.system.host import is_root
from localk8s.system.locks import exclusive
from localk8s.system.process import HostRunner

ROLES = (
    ImageRole.PAUSE, ImageRole.ETCD, ImageRole.KUBE_APISERVER, ImageRole.KUBE_CONTROLLER_MANAGER, ImageRole.KUBE_SCHEDULER,
    ImageRole.KUBE_PROXY, ImageRole.DNS, ImageRole.ECHO,
)  # fmt: skip
"""Every image that a node may need, so that nothing has to be fetched or sent after boot."""

PROVIDERS = ("lxc", "libvirt")
_BUILD_LIMIT = 1800.0
_GENTLY = ("nice", "-n", "5")


@dataclass(frozen=True, slots=True)
class BuiltBox:
    """A box on this host, whole."""

    provider: str
    key: str
    directory: Path

    @property
    def name(self) -> str:
        """As a Vagrantfile names it."""
        return f"localk8s-{self.key}"


class BoxBuilder:
    """Builds boxes and keeps them.

    Args:
        directory: where boxes are kept; one directory a box.
        runner: runs mmdebstrap and what follows.
        artifacts: gives Kubernetes' programs and images.
    """

    def __init__(self, directory: Path, runner: HostRunner, artifacts: Artifacts) -> None:
        self._directory = directory.absolute()
        self._runner = runner
        self._artifacts = artifacts

    def build(self, provider: str, version: KubernetesVersion, named: str | None, step: Step) -> BuiltBox:
        """The box for ``provider`` and ``version``; built if it is not there.

        Args:
            provider: ``lxc`` or ``libvirt``.
            version: of Kubernetes.
            named: a directory or bundle that the user named for artifacts.
            step: told how far it is.

        Raises:
            NotSupportedError: no boxes are built for that provider.
            PrerequisiteError: this process is not root, or mmdebstrap is missing.
            ArtifactError: a program or image cannot be had.
            CommandError: a command of the build failed.
        """
        if provider not in PROVIDERS:
            raise NotSupportedError(
                f"localk8s builds boxes for {' and '.join(PROVIDERS)}, not for {provider}.",
                hint=host_command("box build", "--provider", "lxc"),
            )
        binaries = self._artifacts.kubernetes(version, named, step)
        images = self._artifacts.images(binaries, ROLES, step)
        pause = next(image.reference for image in images if image.role is ImageRole.PAUSE)
        box = self.find(provider, box_files.box_key(provider, version, pause, _inputs(binaries, images)))
        if is_whole(box):
            return box
        _need_root()
        with exclusive(self._directory / "lock", what="The store of boxes", timeout=_BUILD_LIMIT):
            if not is_whole(box):
                self._make(box, binaries, images, pause, step)
        return box

    def find(self, provider: str, key: str) -> BuiltBox:
        """The box of that key, whether it is there or not."""
        return BuiltBox(provider, key, self._directory / f"{provider}-{key}")

    def _make(self, box: BuiltBox, binaries: KubernetesBinaries, images: Sequence[Image], pause: str, step: Step) -> None:
        base = self._base(box.provider, step)
        work = box.directory.with_name(f".{box.directory.name}.partial")
        self._run("rm", "-rf", str(work))
        work.mkdir(parents=True, mode=0o711)
        rootfs = work / "rootfs"
        step.progress(2, 6, "copying the system")
        self._run("cp", "-a", str(base), str(rootfs))
        self._run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"localk8s-box-{box.key}", "-f", str(work / "key"))
        step.progress(3, 6, "adding Kubernetes")
        files = box_files.rootfs_files(box.provider, binaries.version, pause, (work / "key.pub").read_text())
        self._add_files(rootfs, box.provider, files)
        for program in PROGRAMS:
            shutil.copyfile(binaries.directory / program, rootfs / "usr/bin" / program)
            (rootfs / "usr/bin" / program).chmod(0o755)
        step.progress(4, 6, "adding images")
        self._import_images(work, rootfs, images)
        write_atomic(work / "metadata.json", box_files.metadata(box.provider), mode=0o644)
        write_atomic(work / "Vagrantfile", box_files.BOX_VAGRANTFILE, mode=0o644)
        write_atomic(work / "images.txt", "".join(f"{image.reference}\n" for image in images), mode=0o644)
        step.progress(5, 6, "finishing the box")
        finish = self._finish_lxc if box.provider == "lxc" else self._finish_libvirt
        finish(work, rootfs)
        self._run("rm", "-rf", str(box.directory))
        write_atomic(work / "complete", f"{box.key}\n", mode=0o644)
        os.replace(work, box.directory)

    def _base(self, provider: str, step: Step) -> Path:
        """Debian's packages, unpacked and configured; shared by the boxes of several Kubernetes versions."""
        base = self._directory / f"base-{box_files.base_key(provider)}"
        if base.exists():
            return base
        step.progress(1, 6, "unpacking Debian's packages")
        partial = base.with_name(f".{base.name}.partial")
        self._run("rm", "-rf", str(partial))
        partial.parent.mkdir(parents=True, exist_ok=True)
        leave_out = [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "man", "locale", "info")]
        self._run(
            *_GENTLY, "mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory", "--quiet",
            '--aptopt=APT::Install-Recommends "false"', *leave_out,
            f"--include={','.join(box_files.packages(provider))}", box_files.SUITE, str(partial),
        )  # fmt: skip
        os.replace(partial, base)
        return base

    def _add_files(self, rootfs: Path, provider: str, files: Mapping[str, File]) -> None:
        for path, file in files.items():
            place(rootfs, path, file)
        enabled = " ".join(box_files.enabled_units(provider))
        masked = " ".join(box_files.masked_units(provider))
        self._run("chroot", str(rootfs), "sh", "-ec", _SETTLE.format(enabled=enabled, masked=masked))

    def _import_images(self, work: Path, rootfs: Path, images: Sequence[Image]) -> None:
        """Let the box's own containerd import and unpack the images, in namespaces that end with it."""
        given = work / "images"
        given.mkdir()
        for number, image in enumerate(images):
            try:
                os.link(image.archive, given / f"{number}.tar")
            except OSError:
                shutil.copyfile(image.archive, given / f"{number}.tar")
        script = _IMPORT.format(rootfs=rootfs, images=given)
        self._run(*_GENTLY, "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", script)
        shutil.rmtree(given)

    def _finish_lxc(self, work: Path, rootfs: Path) -> None:
        os.replace(rootfs / "var/lib/containerd", work / "containerd")
        (rootfs / "var/lib/containerd").mkdir(mode=0o711)
        write_atomic(work / "lxc-config", box_files.LXC_CONFIG, mode=0o644)
        write_atomic(work / "lxc-template", box_files.LXC_TEMPLATE, mode=0o755)
        (work / "rootfs.tar.gz").touch()  # vagrant-lxc wants it to be there; the template takes the directory beside it

    def _finish_libvirt(self, work: Path, rootfs: Path) -> None:
        newest = max(path.name for path in (rootfs / "boot").glob("vmlinuz-*"))
        shutil.copyfile(rootfs / "boot" / newest, work / "vmlinuz")
        shutil.copyfile(rootfs / "boot" / newest.replace("vmlinuz", "initrd.img"), work / "initrd")
        raw = work / "disk.raw"
        self._run("truncate", "--size", "8G", str(raw))
        self._run(*_GENTLY, "mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0",
                  "-d", str(rootfs), str(raw))  # fmt: skip
        self._run(*_GENTLY, "qemu-img", "convert", "-O", "qcow2", str(raw), str(work / "box.img"))
        raw.unlink()
        self._run("rm", "-rf", str(rootfs))

    def _run(self, *argv: str) -> None:
        try:
            self._runner.run(argv, timeout=_BUILD_LIMIT)
        except CommandError as exc:
            program = next(word for word in argv if word not in _GENTLY)
            last = next((line for line in reversed(exc.stderr.splitlines()) if line.strip()), "no reason given")
            raise CommandError(
                exc.argv,
                exc.returncode,
                exc.stdout,
                exc.stderr,
                message=f"The box cannot be built: {program}: {last}",
                hint=host_command("doctor"),
            ) from exc


def is_whole(box: BuiltBox) -> bool:
    """Whether the box is on this host."""
    return (box.directory / "complete").is_file()


def link_tree(source: Path, target: Path, runner: HostRunner) -> None:
    """Make ``target`` the same tree as ``source``, whole or not at all; by hard links where they can be had.

    What is in a box is never written to: machines write into layers above it.
    """
    partial = target.with_name(f".{target.name}.partial")
    runner.run(["rm", "-rf", str(partial), str(target)], timeout=_BUILD_LIMIT)
    partial.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
    linked = runner.run(["cp", "-al", str(source), str(partial)], timeout=_BUILD_LIMIT, check=False)
    if linked.returncode != 0:
        runner.run(["rm", "-rf", str(partial)], timeout=_BUILD_LIMIT)
        runner.run(["cp", "-a", str(source), str(partial)], timeout=_BUILD_LIMIT)
    os.replace(partial, target)


def pack(box: BuiltBox, target: Path, runner: HostRunner) -> None:
    """Write the box as one file that ``vagrant box add`` takes.

    Args:
        box: a box that is whole.
        target: the file; replaced whole.
        runner: runs tar.
    """
    members = ["metadata.json", "Vagrantfile", "key"]
    partial = target.with_name(f".{target.name}.partial")
    if box.provider == "lxc":
        store = r"--transform=s,^\./containerd,./rootfs/var/lib/containerd,"
        packed = box.directory / ".rootfs.tar.gz"
        runner.run(["tar", "-C", str(box.directory), "--numeric-owner", "--xattrs", store, "-I", "gzip -1",
                    "-cf", str(packed), "./rootfs", "./containerd"], timeout=_BUILD_LIMIT)  # fmt: skip
        rename = [r"--transform=s,^\.rootfs,rootfs,"]
        members += ["lxc-config", "lxc-template", packed.name]
    else:
        rename, members = [], [*members, "box.img", "vmlinuz", "initrd"]
    runner.run(["tar", "-C", str(box.directory), *rename, "-cf", str(partial), *members], timeout=_BUILD_LIMIT)
    os.replace(partial, target)
    (box.directory / ".rootfs.tar.gz").unlink(missing_ok=True)


def place(rootfs: Path, path: str, file: File) -> None:
    """Write ``file`` below ``rootfs``. Never follows a link that leads out of it.

    Args:
        rootfs: the box's file system.
        path: absolute path inside.
        file: its content and mode.
    """
    target = rootfs / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink():
        target.unlink()
    target.write_text(file.content, encoding="utf-8")
    target.chmod(file.mode)


def _inputs(binaries: KubernetesBinaries, images: Sequence[Image]) -> dict[str, str]:
    digests = {program: binaries.digests.get(program) or _sha256(binaries.directory / program) for program in PROGRAMS}
    return digests | {image.reference: _sha256(image.archive) for image in images}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _need_root() -> None:
    if not is_root():
        raise PrerequisiteError(
            "Building a box needs root: it makes a system's files with their owners.",
            hint=as_root(host_command("box build", "--provider", "lxc")),
        )


_SETTLE = """
id vagrant >/dev/null 2>&1 || useradd --create-home --shell /bin/bash --password '*' vagrant
chown -R vagrant:vagrant /home/vagrant/.ssh; chmod 700 /home/vagrant/.ssh
rm -f /etc/ssh/ssh_host_* /etc/machine-id /var/lib/dbus/machine-id
: >/etc/machine-id
systemctl -q enable {enabled}
systemctl -q mask {masked}
systemctl -q set-default multi-user.target
update-alternatives --quiet --set iptables /usr/sbin/iptables-nft || true
if [ -d /etc/initramfs-tools ]; then update-initramfs -u >/dev/null; fi
rm -rf /var/cache/apt/* /var/lib/apt/lists/* /var/log/*.log
"""

_IMPORT = """
mount -t proc proc {rootfs}/proc
mount -t tmpfs tmpfs {rootfs}/run
mount --rbind /dev {rootfs}/dev
mount --bind {images} {rootfs}/mnt
chroot {rootfs} sh -ec '
containerd --log-level error & daemon=$!
for try in $(seq 200); do ctr version >/dev/null 2>&1 && break; sleep 0.1; done
for archive in /mnt/*.tar; do ctr -n k8s.io images import "$archive" >/dev/null; done
ctr -n k8s.io images list -q | sort >/run/list; test -s /run/list
kill $daemon; wait $daemon || true
rm -rf /var/lib/containerd/tmpmounts/*'
"""
