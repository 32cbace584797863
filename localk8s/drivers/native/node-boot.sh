#!/bin/sh
# What process 1 of a native node does when it is in the node's own root (see node-init.sh): takes from the host what the
# node is lent, lets go of the host, waits for its cable, then becomes runit's supervisor.
#   NODE_DIR   the node's directory on the host, seen below /.host: disk, and given, which is copied over the root
#   NODE_NAME  its host name                     CGROUPS    lines: version mount-point options
#   POD_RANGE, NODE_RANGE      of the whole cluster
set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
umask 022
host=/.host
disk=$host$NODE_DIR/disk
hostname "$NODE_NAME"

mkdir -p /dev /home /media /mnt /opt /proc /root /run /srv /sys /tmp /var /etc/kubernetes/manifests
chmod 1777 /tmp
chmod 700 /root
for directory in lib/kubelet lib/containerd lib/etcd lib/cni log/localk8s cache spool; do
  mkdir -p "$disk/var/$directory"
done
chmod 700 "$disk/var/lib/etcd"
mkdir -p -m 1777 "$disk/var/tmp"
ln -sfn /run "$disk/var/run"
ln -sfn /run/lock "$disk/var/lock"
mount -n --bind "$disk/var" /var

mount -n -t tmpfs -o mode=755,nosuid,nodev tmpfs /run
mkdir -p /run/lock /run/localk8s/sysctl /run/containerd /run/netns
cp -R --remove-destination --preserve=timestamps "$host$NODE_DIR/given/." /
# What was asked for besides (see docker.py); one that a kill left half-copied is not.
for kept in /var/lib/localk8s/services/*; do
  case $kept in *.new | *'*') ;; *) cp -a "$kept" /run/localk8s/service/ ;; esac
done

# Devices as a machine has them: no disk of the host's, no terminal of its users.
mount -n -t tmpfs -o mode=755,nosuid,size=1m tmpfs /dev
mkdir -p /dev/pts /dev/shm /dev/mqueue /dev/net
for device in null zero full random urandom tty kmsg fuse net/tun; do
  [ ! -c "$host/dev/$device" ] || cp -a "$host/dev/$device" "/dev/$device"
done
mount -n -t devpts -o mode=620,ptmxmode=666,gid=5 devpts /dev/pts
ln -s pts/ptmx /dev/ptmx
mount -n -t tmpfs -o mode=1777,nosuid,nodev tmpfs /dev/shm
mount -n -t mqueue -o nosuid,nodev,noexec mqueue /dev/mqueue 2>/dev/null || true
ln -s /proc/self/fd /dev/fd
ln -s /proc/self/fd/0 /dev/stdin
ln -s /proc/self/fd/1 /dev/stdout
ln -s /proc/self/fd/2 /dev/stderr

mount -n -t proc -o nosuid,nodev,noexec proc /proc
# A kubelet sets these for the whole host, unless it finds them as it wants them: it finds copies.
shadow() {
  [ -e "/proc/sys/$1" ] || return 0
  file=/run/localk8s/sysctl/$(echo "$1" | tr / .)
  echo "$2" >"$file"
  mount -n --bind "$file" "/proc/sys/$1"
}
shadow vm/overcommit_memory 1
shadow vm/panic_on_oom 0
shadow kernel/panic 10
shadow kernel/panic_on_oops 1
shadow kernel/keys/root_maxkeys 1000000
shadow kernel/keys/root_maxbytes 25000000

mount -n -t sysfs -o nosuid,nodev,noexec sysfs /sys
[ ! -e "$host/sys/kernel/security/apparmor" ] || mount -n -t securityfs -o nosuid,nodev,noexec securityfs /sys/kernel/security
mount -n -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
echo "$CGROUPS" | while read -r version point options; do
  case $version in
  1) mkdir -p "$point" && mount -n -t cgroup -o "$options" cgroup "$point" ;;
  2) { [ "$point" = /sys/fs/cgroup ] || mkdir -p "$point"; } && mount -n -t cgroup2 cgroup2 "$point" ;;
  esac
  # The node's own programs stand beside the pods, not above them.
  mkdir -p "$point/system"
  for file in cpuset.cpus cpuset.mems; do
    [ ! -e "$point/system/$file" ] || cat "$point/$file" >"$point/system/$file" 2>/dev/null || true
  done
  echo 1 >"$point/system/cgroup.procs"
done

modules=lib/modules/$(uname -r)
if [ -d "$host/$modules" ]; then
  mkdir -p "/$modules"
  mount -n --bind "$host/$modules" "/$modules"
  mount -n -o remount,bind,ro "/$modules"
fi
umount -n -l "$host"
rmdir "$host"

echo 1 >/proc/sys/net/ipv4/ip_forward
[ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables

# The cable is laid from outside. End of file instead of a word: who boots us is dead, so nothing may be left.
read -r word
[ "$word" = go ]
# By now who booted us has moved itself beside us too: version 2 hands controllers down only from an empty group.
echo "$CGROUPS" | while read -r version point options; do
  [ "$version" = 2 ] || continue
  for controller in $(cat "$point/cgroup.controllers"); do
    echo "+$controller" >"$point/cgroup.subtree_control" 2>/dev/null || true
  done
done
# What pods send beyond the cluster bears the node's address; among pods and nodes addresses stay as they are.
rules="*nat
:LOCALK8S - [0:0]
-A LOCALK8S -d $POD_RANGE -j RETURN
-A LOCALK8S -d $NODE_RANGE -j RETURN
-A LOCALK8S -j MASQUERADE
-A POSTROUTING -s $POD_RANGE -j LOCALK8S
COMMIT"
if ! echo "$rules" | iptables-restore -w --noflush; then # a kernel without nftables
  for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
    ln -sfn xtables-legacy-multi "/usr/sbin/$name"
  done
  echo "$rules" | iptables-restore -w --noflush
fi
exec env -i PATH="$PATH" HOME=/root LANG=C.UTF-8 \
  runsvdir /run/localk8s/service </dev/null >>/var/log/localk8s/supervisor.log 2>&1
