#!/usr/bin/env bash
# Says in one line each why the node cannot run here, and how to change that. Says nothing where it can.
. "$(dirname "$0")/env.sh"
PATH=$PATH:/usr/sbin:/sbin
if [ "$(id -u)" != 0 ]; then echo "not root: the node needs namespaces and cgroups of its own. Run it as root, or with sudo --preserve-env"; exit; fi
need() { command -v "$1" >/dev/null || echo "missing: $1. Get $2"; }
need containerd "containerd: apt-get install --no-install-recommends containerd"
need runc "runc: apt-get install --no-install-recommends runc"
need nft "nftables: apt-get install nftables"
need ip "iproute2: apt-get install iproute2"
need unshare "util-linux: apt-get install util-linux"
need openssl "OpenSSL: apt-get install openssl"
need java "a Java runtime, 17 or newer: apt-get install openjdk-17-jre-headless"
[ -x /usr/lib/cni/bridge ] || echo "missing: /usr/lib/cni/bridge. Get the CNI plugins: apt-get install --no-install-recommends containernetworking-plugins"
[ -c /dev/kmsg ] || echo "missing: /dev/kmsg, which the kubelet reads. Run it where that device is, not in a container without it"
mkdir -p "$STATE"
# What init.sh will do, each once.
try='mount -t tmpfs probe /run && mkdir /run/upper /run/work && mount -t overlay -o lowerdir=/var,upperdir=/run/upper,workdir=/run/work probe /var &&
  ip link add probe0 type veth peer name probe1 && nft add table inet probe'
said=$(unshare --net --mount --pid --ipc --fork --mount-proc --propagation private sh -c "$try" 2>&1) ||
  echo "no namespaces with mounts and interfaces of their own: ${said:-unshare failed}. A container needs --privileged for them"
for at in $(hierarchies); do
  if [ ! -d "$at" ]; then mkdir "$at" 2>/dev/null && rmdir "$at" || echo "no cgroups: $at cannot be made. Mount cgroups writable"; fi
done
true
