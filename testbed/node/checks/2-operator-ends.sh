# O10 on pods: the operator ends in the middle of a reset, in each of the ways in which a cluster ends pods.

# ended_by COMMAND…: in the middle of a pause, and when the pause has been on for a while.
ended_by() {
  local before=0 moment
  for moment in stopping quiet planned; do
    running
    request "$moment" '"whenActive":"Pause"'
    case $moment in
    stopping) expect 30 "scaled to 0" replicas_are 0 ;;
    quiet) expect 60 "the group is watched" reason_is QuietPeriod ;;
    planned) expect 90 "the plan is written" planned "$moment" ;;
    esac
    "$@"
    note "$moment:"
    once_or_held "$moment" "$before"
    before=$(first)
    expect 60 "back at 2" replicas_are 2
  done
  running
}
planned() { kubectl -n "$WORLD" get offsetresetrecords -o jsonpath="{.items[?(@.spec.request.id==\"$1\")].spec.plan.topics}" | grep -q partition; }
other_pod() { [ "$(of_operator .metadata.uid)" != "$1" ] && operator_ready; }

deleted() { kubectl -n $SYSTEM delete pod "$(of_operator .metadata.name)" "$@" >/dev/null 2>&1; }
o10_the_operators_pod_is_deleted_in_the_middle_of_a_reset() {
  installed
  world deleted
  ended_by deleted
}
o10_the_operators_pod_is_deleted_by_force_in_the_middle_of_a_reset() {
  installed
  world forced
  ended_by deleted --force --grace-period=0
}

drained() {
  local uid
  uid=$(of_operator .metadata.uid)
  kubectl drain node --pod-selector=app.kubernetes.io/name=stream-pipeline-operator --timeout=90s >"$INSIDE/log/drain.log" 2>&1
  kubectl uncordon node >/dev/null
  expect 60 "another pod is ready" other_pod "$uid"
}
o10_the_operators_pod_is_evicted_by_a_drain_in_the_middle_of_a_reset() {
  installed
  world drained
  trap 'kubectl uncordon node >/dev/null' RETURN
  ended_by drained
}

# Somebody in its container takes all of its memory, and may not be killed for it: so the kernel takes the operator.
out_of_memory() {
  local at count
  at=$(container_group)
  count=$(restarts)
  bash -c 'echo $BASHPID >"$0/cgroup.procs"; echo -1000 >/proc/self/oom_score_adj; exec tail -c 600M /dev/zero' "$at" >/dev/null 2>&1 &
  expect 60 "its container was restarted" test_more_restarts "$count"
  kill -KILL $! 2>/dev/null || true
  expect 5 "it was OOMKilled" test "$(of_operator .status.containerStatuses[0].lastState.terminated.reason)" = OOMKilled
}
test_more_restarts() { [ "$(restarts)" -gt "$1" ]; }
o10_the_operator_is_killed_for_its_memory_in_the_middle_of_a_reset() {
  installed
  world memory
  ended_by out_of_memory
}

o09_two_replicas_of_which_one_stands_still_reset_once() {
  installed
  world replicas
  kubectl -n $SYSTEM scale deployment --all --replicas=2 >/dev/null
  expect 60 "two operators are ready" operators_are 2
  request first '"whenActive":"Pause"'
  expect 60 "the group is watched" reason_is QuietPeriod
  local pid
  pid=$(pgrep -o -x stream-pipeline)
  kill -STOP "$pid"
  note "one stands still (process $pid)"
  once_or_held first 0
  kill -CONT "$pid" 2>/dev/null || true
  expect 90 "both are ready again" operators_are 2
  kubectl -n $SYSTEM scale deployment --all --replicas=1 >/dev/null
  expect 60 "one operator" operators_are 1
  brought_back "$(first)"
}
operators_are() { [ "$(kubectl -n $SYSTEM get deployment -o jsonpath='{.items[0].status.readyReplicas}{.items[0].status.replicas}')" = "$1$1" ]; }
