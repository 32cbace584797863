#!/bin/sh
# Process 1 of a native node, in namespaces of its own (mount, pid, net, uts, ipc, cgroup), as long as it sees the host.
# Puts the node's root together with the host's programs, makes it the only one, and goes on there as node-boot.sh.
# All it is told comes in the environment; nothing of it outlives the namespaces.
#   CLUSTER_DIR  the cluster's directory on the host; below it: root, the file system that all nodes share and none changes,
#                and kubernetes, the cluster's own programs, as they lie over it
#   NODE_DIR     the node's directory on the host     NODE_DISK  a file system image, or empty
set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin # root's own, whatever its caller had
umask 022
mount --make-rprivate /

disk=$NODE_DIR/disk
mkdir -p "$disk" "$NODE_DIR/root"
[ -z "$NODE_DISK" ] || mount -n -o loop,noatime "$NODE_DISK" "$disk"
mkdir -p "$disk/root" "$disk/work"
if [ -d "$disk/etc.work" ]; then # of a localk8s whose nodes had the host's root
  rm -rf "$disk/etc.work" "$disk/root/etc"
  mv "$disk/etc" "$disk/root/etc"
fi

# Paths that the overlay is given have no room for colons and commas: they are relative.
cd "$CLUSTER_DIR"
relative=${NODE_DIR#"$CLUSTER_DIR/"}
layers=lowerdir=kubernetes:root,upperdir=$relative/disk/root,workdir=$relative/disk/work
mount -n -t overlay overlay -o "$layers" "$NODE_DIR/root"

cd "$NODE_DIR/root"
[ ! -L .host ] || rm .host
mkdir -p .host
if [ ! -x bin/sh ]; then
  echo "its root file system was removed on the node; delete the node, or the cluster" >&2
  exit 1
fi
pivot_root . .host
cd /
exec /bin/sh "/.host$CLUSTER_DIR/node-boot.sh"
