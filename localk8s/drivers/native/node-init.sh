#!/bin/sh
# Process 1 of a native node, in namespaces of its own (mount, pid, net, uts, ipc, cgroup).
# Makes the node's file system out of the host's, waits for its cable, then becomes runit's supervisor.
# All it is told comes in the environment; nothing of it outlives the namespaces.
#   NODE_DIR   the node's directory on the host     NODE_NAME  its host name
#   NODE_DISK  a file system image, or empty        CGROUPS    lines: version mount-point options
#   BINARIES, TOOLS, SERVICES, LIBRARY   directories that appear as /run/localk8s/{bin,tools,service,lib/localk8s}
#   POD_RANGE, NODE_RANGE      of the whole cluster
set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
umask 022
mount --make-rprivate /
hostname "$NODE_NAME"

disk=$NODE_DIR/disk
mkdir -p "$disk" "$NODE_DIR/run"
[ -z "$NODE_DISK" ] || mount -n -o loop,noatime "$NODE_DISK" "$disk"
for directory in etc etc.work var/lib/kubelet var/lib/containerd var/lib/etcd var/lib/cni var/log/localk8s var/cache var/spool; do
  mkdir -p "$disk/$directory"
done
chmod 700 "$disk/var/lib/etcd"
mkdir -p -m 1777 "$disk/var/tmp"
ln -sfn /run "$disk/var/run"
ln -sfn /run/lock "$disk/var/lock"

# A new /run with what the host lends, put in place when all of it is there (the host's paths are hidden then).
run=$NODE_DIR/run
mount -n -t tmpfs -o mode=755,nosuid,nodev tmpfs "$run"
mkdir -p "$run/lock" "$run/localk8s/bin" "$run/localk8s/tools" "$run/localk8s/service" "$run/localk8s/lib/localk8s" "$run/containerd" "$run/netns"
lend() { # read-only: the files are shared with the artifact cache
  mount -n --bind "$1" "$run/localk8s/$2"
  mount -n -o remount,bind,ro "$run/localk8s/$2"
}
lend "$BINARIES" bin
lend "$TOOLS" tools
lend "$LIBRARY" lib/localk8s
cp -a "$SERVICES/." "$run/localk8s/service/"
cp "$NODE_DIR/no-docker" "$run/localk8s/no-docker"

mount -n -t overlay overlay -o "lowerdir=/etc,upperdir=$disk/etc,workdir=$disk/etc.work" /etc
mkdir -p /etc/kubernetes/manifests /etc/cni/net.d
rm -f /etc/resolv.conf
cp "$NODE_DIR/resolv.conf" /etc/resolv.conf
cp "$NODE_DIR/hosts" /etc/hosts
echo "$NODE_NAME" >/etc/hostname
cp "$NODE_DIR/cni.conflist" /etc/cni/net.d/10-localk8s.conflist
cp "$NODE_DIR/containerd.toml" /etc/localk8s-containerd.toml

mount -n --bind "$disk/var" /var
mount -n --move "$run" /run
# What was asked for besides (see docker.py); one that a kill left half-copied is not.
for kept in /var/lib/localk8s/services/*; do
  case $kept in *.new | *'*') ;; *) cp -a "$kept" /run/localk8s/service/ ;; esac
done

mount -n -t proc proc /proc
# A kubelet sets these for the whole host, unless it finds them as it wants them: it finds copies.
mkdir -p /run/localk8s/sysctl
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
iptables-restore -w --noflush <<RULES
*nat
:LOCALK8S - [0:0]
-A LOCALK8S -d $POD_RANGE -j RETURN
-A LOCALK8S -d $NODE_RANGE -j RETURN
-A LOCALK8S -j MASQUERADE
-A POSTROUTING -s $POD_RANGE -j LOCALK8S
COMMIT
RULES
cd /
exec env -i PATH=/run/localk8s/bin:"$PATH":/run/localk8s/tools/usr/bin:/run/localk8s/tools/usr/sbin HOME=/root LANG=C.UTF-8 \
  /run/localk8s/tools/usr/bin/runsvdir /run/localk8s/service </dev/null >>/var/log/localk8s/supervisor.log 2>&1
