#!/bin/sh
# The first process of a node's box: fits the mounts, then becomes pause, which reaps and waits. When it dies, the kernel
# ends every other process of the box and drops its mounts, so nothing of a node can be left over.
# Usage (by box.py, in new network, mount and process namespaces): box.sh RUN_FOLDER PAUSE_PROGRAM
set -eu
run=$1 pause=$2
mount -t proc proc /proc
# what kubelet, containerd and CNI keep outside their own folders stays with the node
for folder in var/lib var/log; do mount --bind "$run/$folder" "/$folder"; done
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/lock
# the kubelet sets these for the whole machine; here it finds them set, and the machine keeps its own
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  file=$run/sysctl/${setting%%=*}
  mkdir -p "${file%/*}"
  echo "${setting#*=}" > "$file"
  mount --bind "$file" "/proc/sys/${setting%%=*}"
done
mount --make-rshared /
touch "$run/mounted"
exec "$pause"
