#!/usr/bin/env bash
# Brings up a Kubernetes node with a Kafka broker, in namespaces of its own. Nothing of the machine is changed but for files in
# target/node, and a cgroup; `down.sh` removes both, also after a crash.
set -euo pipefail
. "$(dirname "$0")/env.sh"
why=$("$HERE/why-not.sh")
[ -z "$why" ] || fail "$why"
begun=$SECONDS
mkdir -p "$STATE"
# Two at once: the second finds the first's.
exec 9>"$STATE.lock"
flock 9
if init_pid >/dev/null && [ -f "$STATE/up" ]; then say "up already: make node-down takes it down"; exit; fi
"$HERE/down.sh"
rm -rf "$STATE/log"
mkdir -p "$STATE"/{bin,log,pid,home,images,containerd,etcd,kubelet,pod-logs,pki}
${CARGO:-cargo} run --quiet --bin testbed -- node-parts >"$STATE/parts"
(cd "$HERE/tool" && CGO_ENABLED=0 GOWORK=off go build -trimpath -ldflags '-s -w' -o "$STATE/bin/tool" .)
"$STATE/bin/tool" image "$STATE/images/tool.tar" localhost/node-tool:1 "/tool wait" /tool="$STATE/bin/tool"
for at in $(hierarchies); do mkdir -p "$at"; done
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
  # What is not given on to the node's cgroup, its pods cannot be held to.
  for controller in cpuset cpu io memory hugetlb pids; do
    for at in /sys/fs/cgroup "$(hierarchies)"; do echo "+$controller" >"$at/cgroup.subtree_control" 2>/dev/null || true; done
  done
fi
mkdir -p "$(daemons)"
(
  exec 9>&-
  echo $BASHPID >"$(daemons)/cgroup.procs"
  exec setsid unshare --net --mount --pid --ipc --fork --mount-proc --propagation private "$HERE/init.sh"
) >"$STATE/log/init.log" 2>&1 </dev/null &
init=$!
held() { [ -f "$STATE/namespaces" ] || ! kill -0 $init; }
until_ 20 held && [ -f "$STATE/namespaces" ] || fail "the node's namespaces: $(cat "$STATE/log/init.log")"
"$HERE/enter.sh" "$HERE/start.sh" 9>&-
touch "$STATE/up"
say "up after $((SECONDS - begun)) s. To use it: testbed/node/enter.sh kubectl get pods -A; logs: ${STATE#"$PWD/"}/log"
