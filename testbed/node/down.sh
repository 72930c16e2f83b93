#!/usr/bin/env bash
# Takes the node down, whatever state it is in: up, half up, or its processes killed. What it wrote goes too, but for its logs.
set -euo pipefail
. "$(dirname "$0")/env.sh"
empty() { [ -z "$(find $(hierarchies) -name cgroup.procs -exec cat {} + 2>/dev/null)" ]; }
# The kernel ends a PID namespace with its first process. Those of the machine's namespace that entered are in the cgroup too.
kill_all() { local pid; for pid in $(cat "$(daemons)/cgroup.procs" 2>/dev/null); do kill -KILL "$pid" 2>/dev/null || true; done; empty; }
until_ 30 kill_all || fail "processes of the node do not end: $(find $(hierarchies) -name cgroup.procs -exec cat {} + | sort -u | tr '\n' ' ')"
remove() { local at; for at in $(hierarchies); do [ ! -d "$at" ] || find "$at" -depth -type d -exec rmdir {} +; done; }
until_ 10 remove || fail "the cgroup $CGROUP cannot be removed: $(remove 2>&1 | head -1)"
if [ -d "$STATE" ]; then find "$STATE" -mindepth 1 -maxdepth 1 ! -name log -exec rm -rf --one-file-system {} +; fi
