"""What a box built here holds beside Debian's packages and Kubernetes: for Vagrant, for LXC, for libvirt. Pure.

A box is named by a key over everything that decides its content, so the same inputs give the same box.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from localk8s.drivers.vagrant.node_files import PACKAGES, File, static_files
from localk8s.model.versions import KubernetesVersion

RECIPE = 1
"""Raised when the way in which boxes are built changes what is in them."""
SUITE = "bookworm"
_KERNEL_PACKAGES = ("linux-image-cloud-amd64", "initramfs-tools", "e2fsprogs", "qemu-guest-agent", "udev")


def packages(provider: str) -> tuple[str, ...]:
    """The Debian packages of a box for ``provider``."""
    return tuple(sorted({*PACKAGES, *(_KERNEL_PACKAGES if provider == "libvirt" else ())}))


def masked_units(provider: str) -> tuple[str, ...]:
    """Units that would change the host from within a container, or only cost time."""
    common = ("apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "fstrim.timer", "systemd-timesyncd.service",
              "dpkg-db-backup.timer", "systemd-networkd-wait-online.service", "getty@tty1.service",
              "systemd-firstboot.service")  # fmt: skip
    if provider == "libvirt":
        return (*common, "serial-getty@ttyS0.service", "systemd-update-utmp.service")
    return (*common, "systemd-sysctl.service", "systemd-modules-load.service", "systemd-udevd.service",
            "systemd-udev-trigger.service", "console-getty.service", "sys-kernel-debug.mount", "sys-kernel-tracing.mount",
            "sys-fs-fuse-connections.mount", "dev-hugepages.mount", "dev-mqueue.mount", "systemd-journald-audit.socket",
            "sys-kernel-config.mount", "modprobe@.service", "systemd-remount-fs.service")  # fmt: skip


def rootfs_files(provider: str, version: KubernetesVersion, pause: str, public_key: str) -> Mapping[str, File]:
    """Every file that is written into the box's file system."""
    virtual = provider == "libvirt"
    files = {
        **static_files(pause, version, virtual_machine=virtual),
        "/etc/hostname": File(""),
        "/etc/resolv.conf": File(""),
        "/etc/sudoers.d/vagrant": File("vagrant ALL=(ALL) NOPASSWD:ALL\nDefaults:vagrant !requiretty\n", 0o440),
        "/home/vagrant/.ssh/authorized_keys": File(public_key, 0o600),
        "/etc/ssh/sshd_config.d/localk8s.conf": File("UseDNS no\nPasswordAuthentication no\nUsePAM no\n"),
        "/etc/systemd/system/localk8s-ssh-keys.service": File(SSH_KEYS_UNIT),
        # Vagrant restarts it after it has set a host name, and would wait for 90 s.
        "/etc/systemd/system/ifup@.service": File("[Service]\nType=oneshot\nExecStart=/bin/true\n"),
    }
    if virtual:
        files["/etc/fstab"] = File("/dev/vda / ext4 defaults,noatime 0 0\n")
        files["/etc/initramfs-tools/conf.d/localk8s.conf"] = File("MODULES=most\nCOMPRESS=zstd\nCOMPRESSLEVEL=1\n")
        files["/etc/systemd/system/localk8s-grow.service"] = File(GROW_UNIT)
    return files


def enabled_units(provider: str) -> tuple[str, ...]:
    """Units that start with the machine."""
    common = ("containerd.service", "kubelet.service", "localk8s-network.service", "localk8s-ssh-keys.service", "ssh.service",
              "keepalived.service")  # fmt: skip
    return (*common, "localk8s-grow.service") if provider == "libvirt" else common


def box_key(provider: str, version: KubernetesVersion, pause: str, inputs: Mapping[str, str]) -> str:
    """The name of the box made from these inputs.

    Args:
        provider: ``lxc`` or ``libvirt``.
        version: of Kubernetes.
        pause: reference of the sandbox image.
        inputs: what each binary and image is called -> its sha256.
    """
    files = {path: [file.content, file.mode] for path, file in rootfs_files(provider, version, pause, "").items()}
    content = {
        "recipe": RECIPE,
        "suite": SUITE,
        "provider": provider,
        "packages": packages(provider),
        "masked": masked_units(provider),
        "files": files,
        "inputs": dict(inputs),
        "template": LXC_TEMPLATE if provider == "lxc" else "",
        "configuration": LXC_CONFIG if provider == "lxc" else "",
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def base_key(provider: str) -> str:
    """The name of the unpacked packages, which boxes of several Kubernetes versions share."""
    content = [RECIPE, SUITE, "libvirt" if provider == "libvirt" else "lxc", packages(provider)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def metadata(provider: str) -> str:
    """The box's metadata.json."""
    if provider == "lxc":
        return json.dumps({"provider": "lxc", "version": "1.0.0"}) + "\n"
    return json.dumps({"provider": "libvirt", "format": "qcow2", "virtual_size": 8}) + "\n"


BOX_VAGRANTFILE = """Vagrant.configure('2') do |config|
  config.ssh.private_key_path = File.expand_path('../key', __FILE__)
  config.ssh.insert_key = false
end
"""
"""Inside the box: machines know the box's own key, which was made with it and which nobody else has."""

SSH_KEYS_UNIT = """[Unit]
Description=Host keys of this machine, made at its first boot
Before=ssh.service
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key

[Install]
WantedBy=multi-user.target
"""

GROW_UNIT = """[Unit]
Description=Let the file system use the whole disk
After=local-fs.target

[Service]
Type=oneshot
ExecStart=/sbin/resize2fs /dev/vda

[Install]
WantedBy=multi-user.target
"""

LXC_CONFIG = """lxc.apparmor.profile = unconfined
lxc.cap.drop =
lxc.mount.auto = proc:rw sys:rw cgroup:rw:force
lxc.mount.entry = /dev/kmsg dev/kmsg none bind,create=file,optional 0 0
lxc.sysctl.net.ipv4.ip_forward = 1
lxc.tty.max = 0
lxc.pty.max = 1024
lxc.signal.halt = SIGRTMIN+4
lxc.signal.stop = SIGKILL
"""
"""A node is trusted with its host, as a container that runs containers has to be."""

LXC_TEMPLATE = r"""#!/bin/sh
# Makes a container from this box. An unpacked box is shared by all its containers (overlay below, hard links of the
# image store); a packed one is unpacked into each.
set -eu
while [ $# -gt 0 ]; do
  case $1 in
    --*=*) name=${1%%=*}; value=${1#*=}; shift ;;
    --*) name=$1; value=${2-}; shift; [ $# -eq 0 ] || shift ;;
    *) shift; continue ;;
  esac
  case $name in
    --tarball) tarball=$value ;;
    --config) config=$value ;;
    --path) path=$value ;;
    --rootfs) rootfs=$value ;;
  esac
done
box=$(readlink -f "$(dirname "$tarball")")
umask 022
sed -i -e '/^lxc\.net\./d' -e '/^lxc\.apparmor\./d' -e '/^lxc\.rootfs\./d' -e '/^lxc\.include/d' "$path/config"
mkdir -p "$path/containerd" "$rootfs"
if [ -d "$box/rootfs" ]; then
  mkdir -p "$path/delta0"
  echo "lxc.rootfs.path = overlay:$box/rootfs:$path/delta0" >>"$path/config"
  seed=$box/containerd
else
  tar -xf "$tarball" -C "$rootfs" --strip-components=2 --numeric-owner --xattrs --xattrs-include='*'
  echo "lxc.rootfs.path = dir:$rootfs" >>"$path/config"
  seed=$rootfs/var/lib/containerd
fi
cp -al "$seed/." "$path/containerd/" 2>/dev/null || cp -a "$seed/." "$path/containerd/"
find "$path/containerd" -maxdepth 2 -name '*.db' | while read -r database; do
  cp -a "$database" "$database.new"
  mv "$database.new" "$database"
done
echo "lxc.mount.entry = $path/containerd var/lib/containerd none bind,create=dir 0 0" >>"$path/config"
cat "$config" >>"$path/config"
"""
