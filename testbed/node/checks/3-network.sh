# Ways that are cut and healed, and an API server that is away.

# cut_while_paused WHAT ADDRESS PORT HOW NOTICED…: from the operator's pods.
cut_while_paused() {
  local pods count healed
  pods=$(operators) count=$(restarts)
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
  [ "$(operators) $(restarts)" = "$pods $count" ] || wrong "the operator was restarted ($(restarts) times; $count before)"
}

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
  cut_while_paused "the API server" $NODE_IP 6443 drop not_ready
}
not_ready() { ! operators_ready; }

# away SIGNAL: for a minute, in the middle of a reset.
away() {
  local count ips ip begun
  count=$(restarts) ips=$(of_operators .status.podIP)
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
  [ "$(restarts)" = "$count" ] || wrong "restarts: $count before, $(restarts) after"
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
  kubectl -n $SYSTEM get leases -o name | grep -q . || skip "this chart elects no leader"
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
