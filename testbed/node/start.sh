#!/usr/bin/env bash
# Starts everything in the node, and returns when a pod could run.
set -euo pipefail
. "$(dirname "$0")/daemons.sh"
wait_for() {
  local what=$1; shift
  until_ 120 "$@" || fail "$what did not come up. Its log ends with: $(tail -n 5 "$INSIDE/log/$what.log")"
}
"$HERE/pki.sh"
start_etcd
start_api_server
start_containerd
start_broker
wait_for containerd containers version
for image in $INSIDE/images/*.tar; do containers images import "$image" >>$INSIDE/log/images.log 2>&1 || fail "$(tail -n 3 $INSIDE/log/images.log)"; done
wait_for kube-apiserver kubectl get --raw /readyz
start_controllers
start_scheduler
start_kubelet
start_proxy
start_dns
wait_for kubelet kubectl wait --for=condition=Ready node/node --timeout=1s
wait_for kube-controller-manager kubectl -n default get serviceaccount default
wait_for kafka tool group -group none
kubectl apply -f "$HERE/manifests/kafka.yaml" >/dev/null
