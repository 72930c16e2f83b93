#!/usr/bin/env bash
# enter.sh COMMAND…: runs it in the node, with its kubectl, helm and tool, as its administrator. It ends with the node.
set -euo pipefail
. "$(dirname "$0")/env.sh"
init=$(init_pid) || fail "the node is not up: make node-up"
. "$STATE/parts"
java=$(dirname "$(command -v java)")
echo $BASHPID >"$(daemons)/cgroup.procs"
exec nsenter --target "$init" --mount --net --pid --ipc -- env --chdir="$ROOT" \
  HOME=$INSIDE/home KUBECONFIG=$INSIDE/pki/admin.kubeconfig JARS="$JARS" \
  PATH="$INSIDE/bin:$PARTS:$NODE_PARTS:$java:/usr/sbin:/usr/bin:/sbin:/bin" "$@"
