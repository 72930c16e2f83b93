# Ways that are cut and healed, and an API server that is away.

# cut_while_paused WHAT ADDRESS PORT HOW NOTICED…: from the operator's pods.
cut_while_paused() {
  local pods count cut_at healed
  pods=$(operators) count=$(restarts) cut_at=$(date -u +%Y-%m-%dT%H:%M:%SZ)
  paused cut
  sever "$2" "$3" "$4"
  note "no way to $1 ($4)"
  expect "the cut is noticed" "${@:5}"
  moved 0
  is deployment/consumer .spec.replicas 0
  heal
  healed=$(now)
  once cut
  note "verified $(since "$healed") s after it was healed"
  brought_back 1
  [ "$(operators)" = "$pods" ] || wrong "there are other pods: $(operators), before $pods"
  left_alone "$count"
}
# left_alone RESTARTS: nobody restarted it since. What loses its lease ends by itself; what elects no leader has no reason to.
left_alone() {
  local killed
  killed=$(kubectl -n $SYSTEM get events -o jsonpath='{range .items[?(@.reason=="Killing")]}{.lastTimestamp} {.message}{"\n"}{end}' |
    awk -v since="$cut_at" '$1 >= since && /liveness/')
  [ -z "$killed" ] || wrong "it was killed although it was healthy: $killed"
  elects || [ "$(restarts)" = "$1" ] || wrong "restarts: $1 before, $(restarts) after"
}
elects() { kubectl -n $SYSTEM get leases -o name | grep . >/dev/null; }

unreachable() { [ "$(of_pipeline '.status.conditions[?(@.type=="Ready")].reason')" = BrokerUnreachable ]; }
f01_the_operators_way_to_the_broker_is_silent_and_healed() {
  installed
  world silent
  cut_while_paused "the broker" $BROKER_IP 9093 drop unreachable
}
f01_the_operators_way_to_the_broker_is_refused_and_healed() {
  installed
  world refused
  cut_while_paused "the broker" $BROKER_IP 9093 'reject with tcp reset' unreachable
}
f07_the_operators_way_to_the_api_server_is_silent_and_healed() {
  installed
  world apiserver
  cut_while_paused "the API server" $NODE_IP 6443 drop complains
}
complains() { kubectl -n $SYSTEM logs "$(operator)" --since-time="$cut_at" | grep 'no answer from the API server' >/dev/null; }

# away SIGNAL: for a minute, in the middle of a reset.
away() {
  local count ips ip begun cut_at
  cut_at=$(date -u +%Y-%m-%dT%H:%M:%SZ) count=$(restarts) ips=$(of_operators .status.podIP)
  paused away 20s
  kill -"$1" "$(pid_of kube-apiserver)"
  note "the API server got $1"
  begun=$SECONDS
  until ((SECONDS >= begun + 60)); do
    for ip in $ips; do expect "it lives" lives "$ip"; done
    sleep 2
  done
  if [ "$1" = STOP ]; then kill -CONT "$(pid_of kube-apiserver)"; else start_api_server; fi
  expect "the API server is back" kubectl get --raw /readyz
  once away
  brought_back 1
  left_alone "$count"
}
lives() { [[ "$(tool get "http://$1:8080/livez")" == 200* ]]; }
f07_the_api_server_stands_still_for_a_minute_and_the_operator_is_left_alone() {
  installed
  world still
  away STOP
}
f07_the_api_server_is_gone_for_a_minute_and_the_operator_is_left_alone() {
  installed
  world gone
  away KILL
}

f07_the_way_of_the_leader_to_the_api_server_is_cut_and_another_goes_on() {
  installed
  elects || skip "this chart elects no leader"
  world leader
  local leader
  paused first
  leader=$(operator)
  sever_from "$(of_operator .status.podIP)" $NODE_IP 6443 drop
  expect "another leads" led_by_another "$leader"
  note "$leader led, now $(operator)"
  once_or_held first 0
  heal
  expect "both are ready" operators_ready
  brought_back "$(first)"
}
led_by_another() { [ "$(operator)" != "$1" ]; }
