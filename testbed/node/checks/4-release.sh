# The release is upgraded and uninstalled under a reset; tenants.

o10_the_release_is_upgraded_in_the_middle_of_a_reset() {
  installed
  world upgraded
  paused first 20s
  local before
  before=$(operators)
  said helm_to upgrade --set resources.limits.memory=300Mi
  expect "other pods are ready" replaced "$before"
  once_or_held first 0
  brought_back "$(first)"
}

f15_two_tenants_with_the_same_names_and_a_broken_third_do_not_hinder_each_other() {
  local tenant
  installed
  for tenant in broken a b; do world tenant-$tenant; done
  WORLD=tenant-broken-$RUN
  kubectl -n $WORLD delete streampipeline pipeline --wait >/dev/null
  sed "s/@NAME@/$WORLD/g; s/kafka.kafka.svc.cluster.local/nothing.kafka.svc.cluster.local/" "$HERE/manifests/world.yaml" | kubectl apply -f - >/dev/null
  becomes streampipeline/pipeline '.status.conditions[?(@.type=="BackendReachable")].status' False
  for tenant in a b; do WORLD=tenant-$tenant-$RUN request same '"whenActive":"Pause"'; done
  for tenant in a b; do
    WORLD=tenant-$tenant-$RUN
    once same
    brought_back 1
  done
}

uninstall() { timeout 150 helm uninstall $RELEASE -n $SYSTEM --wait; }
b9_an_uninstall_with_a_request_that_waits_ends_at_once_and_the_request_waits_on() {
  installed
  world uninstalled
  request first '"whenActive":"Wait"'
  reason GroupActive
  expect "no pipeline is kept of those before" nothing_kept
  local begun
  begun=$(now)
  said uninstall
  note "uninstalled in $(since "$begun") s"
  kubectl get crd streampipelines.streampipeline.io offsetresetrecords.streampipeline.io >/dev/null
  scale 0
  expect "the group is empty" group_is 'Empty 0'
  moved 0
  installed
  once first
  scale 2
  brought_back 1
}

b9_an_uninstall_with_a_pipeline_that_is_kept_stopped_is_refused_and_says_what_to_do() {
  installed
  world kept
  paused first 10m
  local answer
  answer=$(uninstall 2>&1) && wrong "uninstalled although a pipeline is kept stopped"
  [[ $answer == *$WORLD/pipeline* ]] || wrong "the refusal does not name the pipeline: $answer"
  note "$(grep -o 'the operator keeps.*' <<<"$answer" | head -n 1)"
  expect "the operator is still there" operators_ready
  moved 0
  # What it says: without the request the pipeline is brought back, and then nothing stands in the way.
  patched '{"spec":{"offsetReset":null}}'
  replicas 2
  expect "nothing is kept" nothing_kept
  said uninstall
  running
  moved 0
}
# nothing_kept: nowhere; what runs again is still watched for a while.
nothing_kept() { [ -z "$(kubectl get streampipelines -A -o 'jsonpath={.items[*].metadata.finalizers}')" ]; }
