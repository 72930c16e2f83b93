# What the node runs, each started by a function of its own, so that a test can start one anew. Sourced in the node.
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

# start NAME COMMAND…: its process id is in pid/NAME, its log in log/NAME.log.
start() {
  local name=$1; shift
  (cd $INSIDE && exec setsid "$@" >>"log/$name.log" 2>&1 </dev/null) &
  echo $! >"$INSIDE/pid/$name"
}
pid_of() { cat "$INSIDE/pid/$1"; }
containers() { ctr --address $INSIDE/containerd.sock --namespace k8s.io "$@"; }

start_etcd() {
  start etcd etcd --data-dir etcd --unsafe-no-fsync --log-level warn
}
start_api_server() {
  start kube-apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 --bind-address=$NODE_IP --advertise-address=$NODE_IP --secure-port=6443 \
    --tls-cert-file=pki/apiserver.crt --tls-private-key-file=pki/apiserver.key --client-ca-file=pki/ca.crt \
    --service-account-key-file=pki/sa.pub --service-account-signing-key-file=pki/sa.key \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local --service-cluster-ip-range=10.97.0.0/16 \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --kubelet-client-certificate=pki/kubelet-client.crt --kubelet-client-key=pki/kubelet-client.key \
    --kubelet-preferred-address-types=InternalIP
}
start_controllers() {
  start kube-controller-manager kube-controller-manager --kubeconfig=pki/controller-manager.kubeconfig --use-service-account-credentials \
    --service-account-private-key-file=pki/sa.key --root-ca-file=pki/ca.crt --leader-elect=false --bind-address=127.0.0.1
}
start_scheduler() {
  start kube-scheduler kube-scheduler --kubeconfig=pki/scheduler.kubeconfig --leader-elect=false --bind-address=127.0.0.1
}
start_containerd() {
  mkdir -p $INSIDE/cni
  cp "$HERE/etc/cni.conflist" $INSIDE/cni/10-node.conflist
  start containerd containerd --config "$HERE/etc/containerd.toml"
}
start_kubelet() {
  : >$INSIDE/resolv.conf
  sed "s/@CGROUP@/$CGROUP/" "$HERE/etc/kubelet.yaml" >$INSIDE/kubelet.yaml
  start kubelet kubelet --config=kubelet.yaml --kubeconfig=pki/kubelet.kubeconfig --root-dir=$INSIDE/kubelet --cert-dir=$INSIDE/pki/kubelet \
    --hostname-override=node --node-ip=$NODE_IP
}
start_proxy() {
  start kube-proxy kube-proxy --config="$HERE/etc/kube-proxy.yaml"
}
start_dns() {
  start coredns coredns -conf "$HERE/etc/Corefile"
}
start_broker() {
  local id java=(java -Xmx384m -Xms128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -Djava.io.tmpdir=$INSIDE/home -cp "$JARS/*")
  if [ ! -d $INSIDE/kafka ]; then
    id=$("${java[@]}" kafka.tools.StorageTool random-uuid 2>/dev/null | tail -n 1)
    "${java[@]}" kafka.tools.StorageTool format -t "$id" -c "$HERE/etc/server.properties" >>$INSIDE/log/kafka.log 2>&1
  fi
  start kafka "${java[@]}" kafka.Kafka "$HERE/etc/server.properties"
}
