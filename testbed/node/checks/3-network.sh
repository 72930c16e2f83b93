# Ways that are cut and healed, and an API server that is away.

# cut_while_paused WHAT ADDRESS PORT HOW REASON: from the operator's pod; the reason is what is told meanwhile, where it can be told.
cut_while_paused() {
  local pod count
  pod=$(of_operator .metadata.name) count=$(restarts)
  paused cut
  cut "$(of_operator .status.podIP)" "$2" "$3" "$4"
  note "no way to $1 ($4)"
  expect 60 "the cut is noticed" "${@:5}"
  moved 0 0
  expect 5 "nothing is started or stopped meanwhile" replicas_are 0
  heal
  local healed
  healed=$(now)
  once cut
  note "verified $(since "$healed") s after it was healed"
  brought_back 1
  [ "$(of_operator .metadata.name) $(restarts)" = "$pod $count" ] || { note "the operator was restarted: $(restarts) times"; exit 1; }
}

f01_the_operators_way_to_the_broker_is_silent_and_healed() {
  installed
  world silent
  cut_while_paused "the broker" $BROKER_IP 9093 drop reason_is BrokerUnreachable
}
f01_the_operators_way_to_the_broker_is_refused_and_healed() {
  installed
  world refused
  cut_while_paused "the broker" $BROKER_IP 9093 'reject with tcp reset' reason_is BrokerUnreachable
}
f07_the_operators_way_to_the_api_server_is_silent_and_healed() {
  installed
  world apiserver
  cut_while_paused "the API server" $NODE_IP 6443 drop not_ready
}
not_ready() { ! operator_ready; }

# away SIGNAL: for a minute, in the middle of a reset.
away() {
  local count ip begun
  count=$(restarts) ip=$(of_operator .status.podIP)
  paused away 20s
  kill -"$1" "$(pid_of kube-apiserver)"
  note "the API server got $1"
  begun=$SECONDS
  until ((SECONDS >= begun + 60)); do
    expect 5 "it lives" lives "$ip"
    sleep 2
  done
  if [ "$1" = STOP ]; then kill -CONT "$(pid_of kube-apiserver)"; else start_api_server; fi
  expect 60 "the API server is back" kubectl get --raw /readyz
  once away
  brought_back 1
  [ "$(restarts)" = "$count" ] || { note "restarts: $count before, $(restarts) after"; exit 1; }
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
