# The chart is installed, and a consumer that runs in pods is reset.

node_the_release_is_ready_in_seconds_in_a_restricted_namespace() {
  local begun
  begun=$(now)
  installed
  note "ready $(since "$begun") s after helm install began"
  expect "no restart" test "$(restarts)" = 0
  expect "its memory no longer grows" memory_rests
  note "memory of its container at rest: $(memory_kib) KiB"
}

node_helm_test_finds_the_installation_whole() {
  installed
  helm -n $SYSTEM get hooks $RELEASE | grep -E 'helm.sh/hook: "?test' >/dev/null || skip "the chart has no test"
  said helm -n $SYSTEM test $RELEASE --timeout 120s
}

a12_a_reset_that_waits_runs_when_a_person_has_scaled_the_consumer_to_0() {
  installed
  world a12
  request first '"whenActive":"Wait"'
  reason GroupActive
  moved 0
  scale 0
  once first
  is deployment/consumer .spec.replicas 0
  scale 2
  running
  moved 1
}

a04_a_reset_that_pauses_stops_the_consumer_and_brings_it_back() {
  installed
  world a04
  paused first
  once first
  brought_back 1
}

o01_the_operator_restarted_and_the_same_request_applied_again_move_nothing() {
  installed
  world o01
  paused first
  once first
  brought_back 1
  kubectl -n $SYSTEM rollout restart deployment >/dev/null
  kubectl -n $SYSTEM rollout status deployment --timeout=60s >/dev/null
  request first '"whenActive":"Pause"'
  expect "the new operator has looked" looked
  is streampipeline/pipeline .status.offsetReset.stage Verified
  brought_back 1
}

node_a_thousand_pipelines_at_rest_take_little_of_the_pods_memory() {
  installed
  local many=many-$RUN before
  before=$(memory_kib)
  kubectl create namespace "$many" >/dev/null
  for n in $(seq 1000); do
    echo "{apiVersion: streampipeline.io/v1alpha1, kind: StreamPipeline, metadata: {name: p$n, namespace: $many}, spec: {kafka: {bootstrapServers: ['kafka.kafka.svc.cluster.local:9093'], consumerGroup: $many-$n}}}"
    echo ---
  done | kubectl create -f - >/dev/null
  expect "each was looked at" looked_at 1000 "$many"
  note "memory of its container: $before KiB, and $(memory_kib) KiB with a thousand pipelines"
  [ "$(memory_kib)" -lt $((64 << 10)) ] || wrong "more than 64 MiB"
  kubectl delete namespace "$many" --wait=false >/dev/null
}
# looked_at COUNT NAMESPACE
looked_at() { [ "$(kubectl -n "$2" get streampipelines -o 'jsonpath={range .items[*]}{.status.phase}{"\n"}{end}' | grep -c .)" = "$1" ]; }
