#!/usr/bin/env bash
# One authority; a certificate for the API server, and one for each of its clients.
set -euo pipefail
. "$(dirname "$0")/env.sh"
cd $INSIDE/pki
key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }
key ca
openssl req -x509 -new -key ca.key -days 30 -subj /CN=node-ca -out ca.crt \
  -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
openssl genrsa -out sa.key 2048 2>/dev/null
openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
# certificate NAME SUBJECT USE [ALTERNATIVE NAMES]
certificate() {
  key "$1"
  openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out "$1.crt" 2>/dev/null \
    -extfile <(printf 'basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=%s\n%s\n' "$3" "${4:+subjectAltName=$4}")
}
client() {
  certificate "$1" "$2" clientAuth
  cat >"$1.kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters: [{ name: node, cluster: { server: "https://$NODE_IP:6443", certificate-authority: $INSIDE/pki/ca.crt } }]
users: [{ name: $1, user: { client-certificate: $INSIDE/pki/$1.crt, client-key: $INSIDE/pki/$1.key } }]
contexts: [{ name: node, context: { cluster: node, user: $1 } }]
current-context: node
YAML
}
certificate apiserver /CN=kube-apiserver serverAuth \
  "IP:$NODE_IP,IP:10.97.0.1,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
certificate kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client clientAuth
client admin /O=system:masters/CN=admin
client controller-manager /CN=system:kube-controller-manager
client scheduler /CN=system:kube-scheduler
client kubelet /O=system:nodes/CN=system:node:node
client kube-proxy /CN=system:kube-proxy
client coredns /O=system:masters/CN=coredns
