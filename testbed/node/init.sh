#!/usr/bin/env bash
# The first process of the node, in namespaces that are new: mounts and interfaces, and then it only holds them. When it ends,
# however it ends, the kernel ends every process of the node and takes its mounts and interfaces away.
set -euo pipefail
. "$(dirname "$0")/env.sh"
PATH=$PATH:/usr/sbin:/sbin
# Paths that no option moves (/run/containerd, /var/lib/kubelet, /var/lib/cni, /var/log/containers) are written to in memory.
mount -t tmpfs -o mode=755 node /run
mkdir -p $INSIDE /run/var/upper /run/var/work
mount --bind "$STATE" $INSIDE
mount -t overlay -o lowerdir=/var,upperdir=/run/var/upper,workdir=/run/var/work node /var
# As containers expect it; nothing of it reaches the machine's own mounts.
mount --make-rshared /
# The kubelet sets these machine-wide unless they are as it wants them. Here it finds them so.
wants() { printf '%s\n' "$2" >"/run/$(basename "$1")" && mount --bind "/run/$(basename "$1")" "/proc/sys/$1"; }
wants vm/overcommit_memory 1
wants vm/panic_on_oom 0
wants kernel/panic 10
wants kernel/panic_on_oops 1
wants kernel/keys/root_maxkeys 1000000
wants kernel/keys/root_maxbytes 25000000
ip link set lo up
# Both ends stay in here: an interface that is up, and no way out of the node.
ip link add node0 type veth peer name node1
ip link set node0 up
ip link set node1 up
ip address add $NODE_IP/24 dev node0
ip address add $BROKER_IP/24 dev node0
ip route add default dev node0
echo 1 >/proc/sys/net/ipv4/ip_forward
touch $INSIDE/namespaces
exec $INSIDE/bin/tool wait
