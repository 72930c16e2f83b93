# The release is upgraded and uninstalled under a reset; tenants.

o10_the_release_is_upgraded_in_the_middle_of_a_reset() {
  installed
  world upgraded
  paused first 20s
  local uid
  uid=$(of_operator .metadata.uid)
  helm_to upgrade --set resources.limits.memory=300Mi >"$INSIDE/log/helm.log" 2>&1 || { cat "$INSIDE/log/helm.log"; exit 1; }
  [ "$(of_operator .metadata.uid)" != "$uid" ] || { note "the pod is the same"; exit 1; }
  once_or_held first 0
  brought_back "$(first)"
}

f15_two_tenants_with_the_same_names_and_a_broken_third_do_not_hinder_each_other() {
  installed
  world tenant-c
  kubectl -n tenant-c patch streampipeline pipeline --type merge -p '{"spec":{"kafka":{"bootstrapServers":["10.254.0.1:9999"]}}}' >/dev/null || true
  world tenant-a
  world tenant-b
  local tenant
  for tenant in tenant-a tenant-b; do WORLD=$tenant request same '"whenActive":"Pause"'; done
  for tenant in tenant-a tenant-b; do
    WORLD=$tenant
    once same
    brought_back 1
  done
}

uninstalled() { timeout 150 helm uninstall $RELEASE -n $SYSTEM --wait >"$INSIDE/log/helm.log" 2>&1; }
b9_an_uninstall_with_a_request_that_waits_ends_at_once_and_the_request_waits_on() {
  installed
  world uninstalled
  request first '"whenActive":"Wait"'
  expect 30 "it waits for the group" reason_is GroupActive
  local begun
  begun=$(now)
  uninstalled || { cat "$INSIDE/log/helm.log"; exit 1; }
  note "uninstalled in $(since "$begun") s"
  kubectl get crd streampipelines.streampipeline.io offsetresetrecords.streampipeline.io >/dev/null
  scale 0
  expect 30 "the group is empty" group_is 'Empty 0'
  moved 0 0
  installed
  once first
  scale 2
  brought_back 1
}

b9_an_uninstall_with_a_pipeline_that_is_kept_stopped_is_refused_and_says_what_to_do() {
  installed
  world kept
  paused first 10m
  if uninstalled; then note "uninstalled although a pipeline is kept stopped"; exit 1; fi
  # It names the pipeline.
  grep -q kept "$INSIDE/log/helm.log" || { cat "$INSIDE/log/helm.log"; exit 1; }
  note "$(grep -m 1 kept "$INSIDE/log/helm.log" | cut -c1-300)"
  expect 30 "the operator is still there" operator_ready
  moved 0 0
  # What it says: without the request the pipeline is brought back, and then nothing stands in the way.
  kubectl -n kept patch streampipeline pipeline --type merge -p '{"spec":{"offsetReset":null}}' >/dev/null
  expect 60 "back at 2" replicas_are 2
  expect 60 "nothing is kept" no_finalizer
  uninstalled || { cat "$INSIDE/log/helm.log"; exit 1; }
  running
  moved 0 0
}
no_finalizer() { [ -z "$(of_pipeline .metadata.finalizers)" ]; }
