# Names and places of the node. Sourced by every script here, outside of the node and in it.
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
STATE=$(realpath -m "${CARGO_TARGET_DIR:-$ROOT/target}")/node
# What the node writes. In its mount namespace the same folder is /run/node, so that no configuration depends on where it is.
INSIDE=/run/node
# A cgroup of this clone's node: all that the node leaves on the machine beside files, and where its processes are found.
CGROUP=stream-pipeline-node-$(printf %s "$STATE" | cksum | cut -d' ' -f1)
NODE_IP=10.254.0.2
# The broker has another address than the API server, to which the operator opens no connection that a StreamPipeline asks for.
BROKER_IP=10.254.0.1

say() { printf '%s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# hierarchies: the node's cgroup in each hierarchy that is mounted (one with cgroup v2).
hierarchies() {
  local at
  if [ -f /sys/fs/cgroup/cgroup.controllers ]; then echo "/sys/fs/cgroup/$CGROUP"; return; fi
  for at in /sys/fs/cgroup/*/; do
    if [ -f "$at/cgroup.procs" ]; then echo "$at$CGROUP"; fi
  done
}

# daemons: the cgroup of what is no pod. Not in cpuset's hierarchy, which takes no process before it is given processors.
daemons() {
  if [ -f /sys/fs/cgroup/cgroup.controllers ]; then echo "/sys/fs/cgroup/$CGROUP/daemons"; else echo "/sys/fs/cgroup/pids/$CGROUP/daemons"; fi
}

# init_pid: the process that holds the node's namespaces, as the machine numbers it.
init_pid() {
  local pid
  for pid in $(cat "$(daemons)/cgroup.procs" 2>/dev/null); do
    if grep -qsE '^NSpid:\s+[0-9]+\s+1$' "/proc/$pid/status"; then echo "$pid"; return; fi
  done
  return 1
}

# until_ SECONDS COMMAND…: asks until it succeeds.
until_() {
  local end=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS >= end)); then return 1; fi
    sleep 0.3
  done
}
