# The chart is installed, and a consumer that runs in pods is reset.

node_the_release_is_ready_in_seconds_in_a_restricted_namespace() {
  local begun
  begun=$(now)
  installed
  note "ready $(since "$begun") s after helm install"
  expect 5 "no restart" test "$(restarts)" = 0
  # At rest: it has looked at everything there is.
  until_ 10 false || true
  note "memory of its container at rest: $(memory_kib) KiB"
}

o09_a_reset_that_waits_runs_when_a_person_has_scaled_the_consumer_to_0() {
  installed
  world wait
  request first '"whenActive":"Wait"'
  expect 30 "it waits for the group" reason_is GroupActive
  moved 0 0
  scale 0
  once first
  expect 5 "the operator leaves at 0 what a person has stopped" replicas_are 0
  scale 2
  running
  moved 0 1
}

o10_a_reset_that_pauses_stops_the_consumer_and_brings_it_back() {
  installed
  world pause
  paused first
  once first
  expect 30 "back at 2" replicas_are 2
  running
  moved 0 1
}
