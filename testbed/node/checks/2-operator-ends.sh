# O10 on pods: the operator ends in the middle of a reset, in each of the ways in which a cluster ends pods.

# ended_by "MOMENT…" COMMAND…: a reset for each moment, in which the command ends the operator: when it has stopped the consumer, while
# it watches the empty group, as soon as it has written what it will send.
ended_by() {
  local before=0 moment victim moments=$1
  shift
  for moment in $moments; do
    running
    # So that there is time between the plan, what is looked at after it, and the commit.
    if [ "$moment" = planned ]; then slow; fi
    victim=$(first_process)
    request "$moment" '"whenActive":"Pause"'
    case $moment in
    stopping) replicas 0 ;;
    quiet) reason QuietPeriod ;;
    planned) replicas 0 && becomes "offsetresetrecords --all" '.spec.plan.topics[0].name' "$WORLD" ;;
    esac
    "$@"
    heal
    note "$moment:"
    once_or_held "$moment" "$before"
    before=$(first)
    replicas 2
  done
  running
}
# The first process of the container of the one that acts; its Kafka clients are children and end with it.
first_process() { sort -n "$(container_group)/cgroup.procs" | head -n 1; }

crashed() { kill -KILL "$victim"; }
o10_the_operator_crashes_in_the_middle_of_a_reset() {
  installed
  world crashed
  ended_by "stopping quiet planned" crashed
}

deleted() { kubectl -n $SYSTEM delete pod "$(operator)" "$@" >/dev/null 2>&1; }
o10_the_operators_pod_is_deleted_in_the_middle_of_a_reset() {
  installed
  world deleted
  ended_by "stopping quiet" deleted
}
o10_the_operators_pod_is_deleted_by_force_in_the_middle_of_a_reset() {
  installed
  world forced
  ended_by "quiet" deleted --force --grace-period=0
}

# Where there are several, their disruption budget lets one go at a time: the one that acts.
drained() {
  local pod failed=
  pod=$(operator)
  kubectl -n $SYSTEM label pod "$pod" drain=this >/dev/null
  kubectl drain node --pod-selector=drain=this --timeout=${LIMIT}s >"$INSIDE/log/drain.log" 2>&1 || failed=1
  kubectl uncordon node >/dev/null
  [ -z "$failed" ] || wrong "the drain: $(tail -n 1 "$INSIDE/log/drain.log")"
  expect "another pod is ready" replaced "$pod"
}
# replaced PODS: none of these is there, and all that are there are ready.
replaced() { operators_ready && ! grep -qFf <(echo "$1") <(operators); }
o10_the_operators_pod_is_evicted_by_a_drain_in_the_middle_of_a_reset() {
  installed
  world drained
  ended_by "quiet" drained
}

# Somebody in its container takes all of its memory. The kernel kills what the kubelet has marked for it: the operator.
out_of_memory() {
  local at count
  at=$(container_group)
  count=$(restarts)
  bash -c 'echo $BASHPID >"$0/cgroup.procs" && head -c 2G /dev/zero | tail' "$at" >/dev/null 2>&1 &
  expect "its container was restarted" restarted "$count"
  of_operators .status.containerStatuses[0].lastState.terminated.reason | grep OOMKilled >/dev/null || wrong "its container ended for another reason"
}
restarted() { [ "$(restarts)" -gt "$1" ]; }
o10_the_operator_is_killed_for_its_memory_in_the_middle_of_a_reset() {
  installed
  world memory
  ended_by "quiet" out_of_memory
}

o09_two_replicas_of_which_one_stands_still_reset_once() {
  installed
  world replicas
  local pid had
  had=$(operators | wc -l)
  operators_are_scaled_to 2
  request first '"whenActive":"Pause"'
  reason QuietPeriod
  pid=$(first_process)
  kill -STOP "$pid"
  note "one stands still ($(operator))"
  once_or_held first 0
  kill -CONT "$pid" 2>/dev/null || true
  expect "both are ready again" operators_ready
  operators_are_scaled_to "$had"
  brought_back "$(first)"
}
operators_are_scaled_to() {
  kubectl -n $SYSTEM scale deployment --all --replicas="$1" >/dev/null
  expect "$1 operators are ready" operators_are "$1"
}
operators_are() { [ "$(operators | wc -l)" = "$1" ] && operators_ready; }
