# What the checks ask, and how they say what they saw. Sourced in the node.
. "$(dirname "${BASH_SOURCE[0]}")/daemons.sh"
CHART=$ROOT/charts/stream-pipeline-operator
SYSTEM=streaming RELEASE=operator
SKIPPED=77

# check_names: the functions of checks/*.sh that begin with a scenario's number or "node_", in the order they stand.
check_names() { grep -hoE '^([a-z][0-9]+|node)_[a-z0-9_]+' "$HERE"/checks/*.sh; }
skip_all() {
  local count=0 name
  for name in $(check_names); do count=$((count + 1)) && echo "skipped  $name: $1"; done
  echo "0 passed, 0 failed, $count skipped"
}
skip() { echo "skipped  $CHECK: $*"; exit $SKIPPED; }
matches() { local name=$1 word; shift; for word; do if [[ $name == *"$word"* ]]; then return 0; fi; done; return 1; }
note() { printf '         %s\n' "$*"; }
now() { date +%s%N; }
since() { local ms=$((($(now) - $1) / 1000000)); printf '%d.%d' $((ms / 1000)) $((ms % 1000 / 100)); }

# expect SECONDS WHAT COMMAND…: ends the check where the command does not succeed in time.
expect() {
  local limit=$1 what=$2; shift 2
  if ! until_ "$limit" "$@"; then echo "         not seen within $limit s: $what ($*)"; exit 1; fi
}
# told: what there was to see when a check failed.
told() {
  local code=$?
  if [ $code = 0 ] || [ $code = $SKIPPED ]; then return; fi
  {
    kubectl get streampipelines,offsetresetrecords -A
    if [ -n "${WORLD:-}" ]; then
      kubectl -n "$WORLD" get streampipeline pipeline -o jsonpath='{range .status.conditions[*]}{.type}={.status} {.reason}: {.message}{"\n"}{end}'
      kubectl -n "$WORLD" get deployments,pods
      echo "group: $(tool group -group "$WORLD"); commits that landed at 0, by partition: $(landed 0)"
    fi
    kubectl -n $SYSTEM get pods
    kubectl -n $SYSTEM logs -l app.kubernetes.io/name=stream-pipeline-operator --tail=15 | cut -c1-400
  } 2>&1 | sed 's/^/         /'
}

# --- the operator

import_operator() {
  containers images import "$INSIDE/images/operator.tar" >>"$INSIDE/log/images.log" 2>&1 || fail "$(tail -n 3 "$INSIDE/log/images.log")"
  local image
  image=$(containers images ls -q | grep stream-pipeline-operator | grep -v @ | head -n 1)
  REPOSITORY=${image%:*} TAG=${image##*:}
  export REPOSITORY TAG
}
helm_to() { helm "$1" $RELEASE "$CHART" -n $SYSTEM --set image.repository="$REPOSITORY",image.tag="$TAG" --wait --timeout 120s "${@:2}"; }
# installed: the release is there, in a namespace that takes restricted pods only.
installed() {
  if helm -n $SYSTEM status $RELEASE >/dev/null 2>&1; then return; fi
  kubectl create namespace $SYSTEM --dry-run=client -o yaml | kubectl apply -f - >/dev/null
  kubectl label namespace $SYSTEM pod-security.kubernetes.io/enforce=restricted --overwrite >/dev/null
  helm_to install "$@" >"$INSIDE/log/helm.log" 2>&1 || { sed 's/^/         /' "$INSIDE/log/helm.log"; exit 1; }
}
# of_operator PATH: of the pod of the operator that runs or is to run.
of_operator() { kubectl -n $SYSTEM get pods -l app.kubernetes.io/name=stream-pipeline-operator -o "jsonpath={.items[0]$1}"; }
operator_ready() { [ "$(of_operator .status.containerStatuses[0].ready)" = true ]; }
restarts() { of_operator .status.containerStatuses[0].restartCount; }
# container_group: the cgroup of the operator's container, in the hierarchy of memory.
container_group() {
  local id
  id=$(of_operator .status.containerStatuses[0].containerID)
  find "/sys/fs/cgroup/$([ -d /sys/fs/cgroup/memory ] && echo memory/)$CGROUP/kubepods" -type d -name "${id#containerd://}"
}
memory_kib() {
  local at
  at=$(container_group)
  echo $(($(cat "$at/memory.current" 2>/dev/null || cat "$at/memory.usage_in_bytes") / 1024))
}

memory_rests() { local before; before=$(memory_kib); sleep 2; [ $((before - $(memory_kib))) -le 64 ] && [ $((before - $(memory_kib))) -ge -64 ]; }

# --- a user's namespace

# world NAME: a namespace with a consumer of a topic of its own in two pods, which have read all of it, and its StreamPipeline.
world() {
  WORLD=$1
  tool create -topic "$1"
  tool produce -topic "$1"
  sed "s/@NAME@/$1/g" "$HERE/manifests/world.yaml" | kubectl apply -f - >/dev/null
  running
  expect 30 "the pipeline is known" reason_is NothingRequested
}
# running: both consumers are members again and have read to the end.
running() {
  expect 90 "two pods ready" pods_are 2
  expect 60 "two members that have read everything" group_is 'Stable 2 0=1000 1=1000 2=1000'
}
# brought_back TIMES: what was stopped runs and has read everything anew; nothing was moved since.
brought_back() {
  expect 60 "back at 2" replicas_are 2
  running
  moved 0 "$1"
}
of_pipeline() { kubectl -n "$WORLD" get streampipeline pipeline -o "jsonpath={$1}"; }
replicas_are() { [ "$(kubectl -n "$WORLD" get deployment consumer -o jsonpath='{.spec.replicas}')" = "$1" ]; }
pods_are() { [ "$(kubectl -n "$WORLD" get deployment consumer -o jsonpath='{.status.readyReplicas}')" = "$1" ]; }
no_pods() { [ -z "$(kubectl -n "$WORLD" get pods -o name)" ]; }
scale() { kubectl -n "$WORLD" scale deployment consumer --replicas="$1" >/dev/null; }
group_is() { [[ "$(tool group -group "$WORLD")" == "$1"* ]]; }
reason_is() { [ "$(of_pipeline '.status.conditions[?(@.type=="Ready")].reason')" = "$1" ]; }
stage_is() { [ "$(of_pipeline '.status.offsetReset.id} {.status.offsetReset.stage')" = "$1 $2" ]; }
looked() { [ "$(of_pipeline .status.observedGeneration)" = "$(of_pipeline .metadata.generation)" ]; }
stage() { of_pipeline .status.offsetReset.stage; }
# request ID FIELDS: to the beginning, as a person would patch it.
request() {
  kubectl -n "$WORLD" patch streampipeline pipeline --type merge -p '{"spec":{"offsetReset":null}}' >/dev/null
  kubectl -n "$WORLD" patch streampipeline pipeline --type merge -p "{\"spec\":{\"offsetReset\":{\"id\":\"$1\",\"to\":{\"position\":\"Earliest\"},$2}}}" >/dev/null
}
# paused ID: a request that stops the consumers, and they have stopped.
paused() {
  request "$1" "\"whenActive\":\"Pause\",\"quietPeriod\":\"${2:-10s}\""
  expect 30 "scaled to 0" replicas_are 0
  expect 30 "the group is empty" group_is 'Empty 0'
}
# landed OFFSET: how many commits of this offset the group's coordinator has in its log, by partition. The consumers never commit 0:
# what is there at 0 was the operator.
landed() { tool commits -group "$WORLD" | awk -v at="$1" '$2 == at { seen[$1]++ } END { print seen[0] + 0, seen[1] + 0, seen[2] + 0 }'; }
# once ID [BEFORE]: it is verified, each partition was moved once more than before, and what was stopped has read everything anew.
once() {
  expect 150 "$1 is verified" stage_is "$1" Verified
  moved "${2:-0}" 1
}
moved() {
  local seen want=$(($1 + $2))
  seen=$(landed 0)
  if [ "$seen" != "$want $want $want" ]; then note "commits at 0 by partition: $seen; expected $want each"; exit 1; fi
}
# once_or_held ID BEFORE: the promise where an operator died: moved once and verified, or held and moved at most once.
once_or_held() {
  expect 200 "$1 has ended" ended "$1"
  local how seen
  how=$(stage) seen=$(landed 0)
  note "$how, commits at 0 by partition: $seen (before: $2)"
  case $how in
  Verified) moved "$2" 1 ;;
  *) for n in $seen; do if ((n < $2 || n > $2 + 1)); then note "expected $2 or one more"; exit 1; fi; done ;;
  esac
}
ended() { stage_is "$1" Verified || stage_is "$1" Held; }
first() { local seen; seen=$(landed 0); echo "${seen%% *}"; }

# --- the network

# cut FROM TO PORT HOW: between an address of a pod and one of the node; "drop" is silence, "reject with tcp reset" an answer.
cut() {
  nft -f - <<NFT
table inet cut {
  chain input { type filter hook input priority -10; ip saddr $1 ip daddr $2 tcp dport $3 $4; }
}
NFT
}
heal() { nft delete table inet cut 2>/dev/null || true; }
