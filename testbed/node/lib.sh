# What the checks ask, and how they say what they saw. Sourced in the node.
. "$(dirname "${BASH_SOURCE[0]}")/daemons.sh"
CHART=${CHART:-$ROOT/charts/stream-pipeline-operator}
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

# expect WHAT COMMAND…: ends the check where the command does not succeed in time. Limits are for what will never come.
LIMIT=240
expect() {
  local what=$1; shift
  until_ $LIMIT "$@" || wrong "not seen within $LIMIT s: $what"
}
# becomes OBJECT PATH VALUE: the same for a field of an object in the user's namespace, by a watch, which misses no moment.
becomes() {
  # shellcheck disable=SC2086 # "KIND --all" is two words
  kubectl -n "$WORLD" wait $1 --for="jsonpath={$2}=$3" --timeout=${LIMIT}s >/dev/null 2>&1 ||
    wrong "not seen within $LIMIT s: $1 with $2 = $3; it is $(kubectl -n "$WORLD" get ${1/ --all/} -o "jsonpath={$2}")"
}
# is OBJECT PATH VALUE: now.
is() {
  local seen
  seen=$(kubectl -n "$WORLD" get "$1" -o "jsonpath={$2}")
  [ "$seen" = "$3" ] || wrong "$1 has $2 = '$seen', expected '$3'"
}
# said COMMAND…: quiet unless it fails.
said() { local answer; answer=$("$@" 2>&1) || wrong "$1: $answer"; }
wrong() { note "$*"; exit 1; }
# ends: what there was to see when a check failed; and no check leaves to the next what the operator would still have to do.
ends() {
  local code=$?
  if [ $code != 0 ] && [ $code != $SKIPPED ]; then seen 2>&1 | sed 's/^/         /'; fi
  heal
  for WORLD in ${WORLDS:-}; do
    patched '{"spec":{"offsetReset":null}}' || true
    # Where it failed, the consumers are left as they were, to be looked at.
    if [ $code = 0 ]; then scale 0; fi
  done
}
seen() {
  if [ -n "${WORLD:-}" ]; then
    kubectl -n "$WORLD" get streampipelines,offsetresetrecords,deployments,pods
    kubectl -n "$WORLD" get streampipeline pipeline -o jsonpath='{range .status.conditions[*]}{.type}={.status} {.reason}: {.message}{"\n"}{end}'
    echo "group: $(tool group -group "$WORLD"); commits at 0 by partition: $(landed 0)"
  fi
  kubectl -n $SYSTEM get pods
  kubectl -n $SYSTEM logs -l app.kubernetes.io/name=stream-pipeline-operator --tail=15 | cut -c1-400
}

# --- the operator

# operator_images: what containerd has of it, by name.
operator_images() { containers images ls -q | grep stream-pipeline-operator | grep -v @ || true; }
# import_operator: in place of what an earlier run had.
import_operator() {
  local image
  for image in $(operator_images); do containers images rm "$image" >/dev/null; done
  containers images import "$INSIDE/images/operator.tar" >>"$INSIDE/log/images.log" 2>&1 || fail "$(tail -n 3 "$INSIDE/log/images.log")"
  image=$(operator_images)
  [ -n "$image" ] || fail "no image of the archive has stream-pipeline-operator in its name: $(containers images ls -q | tr '\n' ' ')"
  REPOSITORY=${image%:*} TAG=${image##*:}
}
helm_to() { helm "$1" $RELEASE "$CHART" -n $SYSTEM --set image.repository="$REPOSITORY",image.tag="$TAG" --wait --timeout 120s "${@:2}"; }
# installed: the release is there, in a namespace that takes restricted pods only.
installed() {
  if helm -n $SYSTEM status $RELEASE >/dev/null 2>&1; then return; fi
  kubectl create namespace $SYSTEM --dry-run=client -o yaml | kubectl apply -f - >/dev/null
  kubectl label namespace $SYSTEM pod-security.kubernetes.io/enforce=restricted --overwrite >/dev/null
  said helm_to install
}
# operators: the names of its pods that are not about to end. Pods of hooks have the same labels, but no ReplicaSet.
operators() {
  kubectl -n $SYSTEM get pods -l app.kubernetes.io/name=stream-pipeline-operator --field-selector=status.phase!=Failed,status.phase!=Succeeded \
    -o go-template='{{range $pod := .items}}{{if not .metadata.deletionTimestamp}}{{range .metadata.ownerReferences}}{{if eq .kind "ReplicaSet"}}{{$pod.metadata.name}}{{"\n"}}{{end}}{{end}}{{end}}{{end}}'
}
# operator: the one that acts; where they elect a leader, that one.
operator() {
  local holder pod
  holder=$(kubectl -n $SYSTEM get leases -o 'jsonpath={.items[0].spec.holderIdentity}' 2>/dev/null || true)
  for pod in $(operators); do if [[ $holder == *$pod* ]]; then echo "$pod" && return; fi; done
  operators | head -n 1
}
# of_operators PATH: of all of them; of_operator PATH: of the one that acts.
of_operators() { local pod; for pod in $(operators); do kubectl -n $SYSTEM get pod "$pod" -o "jsonpath={$1}{\"\\n\"}"; done; }
of_operator() { kubectl -n $SYSTEM get pod "$(operator)" -o "jsonpath={$1}"; }
operators_ready() { local all; all=$(of_operators .status.containerStatuses[0].ready); [ -n "$all" ] && ! grep -qv true <<<"$all"; }
restarts() { of_operators .status.containerStatuses[0].restartCount | awk '{ sum += $1 } END { print sum + 0 }'; }
# container_group: the cgroup of the container of the one that acts, in the hierarchy of memory.
container_group() {
  local id
  id=$(of_operator .status.containerStatuses[0].containerID)
  find "/sys/fs/cgroup/$([ -d /sys/fs/cgroup/memory ] && echo memory/)$CGROUP/kubepods" -type d -name "${id#containerd://}"
}
# memory_kib: what the operator and its Kafka clients have of their own, without files that the kernel keeps for them.
memory_kib() { awk '$1 == "anon" || $1 == "total_rss" { print int($2 / 1024) }' "$(container_group)/memory.stat"; }
memory_rests() { local before; before=$(memory_kib); sleep 2; [ "$(memory_kib)" = "$before" ]; }

# --- a user's namespace

# world NAME: a namespace of this run with a consumer of a topic of its own in two pods, which have read all of it, and its StreamPipeline.
world() {
  WORLD=$1-$RUN
  WORLDS="${WORLDS:-} $WORLD"
  tool create -topic "$WORLD"
  tool produce -topic "$WORLD"
  sed "s/@NAME@/$WORLD/g" "$HERE/manifests/world.yaml" | kubectl apply -f - >/dev/null
  running
  reason NothingRequested
}
# running: both consumers are members again and have read to the end.
running() {
  becomes deployment/consumer .status.readyReplicas 2
  expect "two members that have read everything" group_is 'Stable 2 0=1000 1=1000 2=1000'
}
group_is() { [[ "$(tool group -group "$WORLD")" == "$1"* ]]; }
scale() { kubectl -n "$WORLD" scale deployment consumer --replicas="$1" >/dev/null; }
# replicas N, reason REASON, stage ID STAGE: wait for it.
replicas() { becomes deployment/consumer .spec.replicas "$1"; }
reason() { becomes streampipeline/pipeline '.status.conditions[?(@.type=="Ready")].reason' "$1"; }
stage() {
  becomes streampipeline/pipeline .status.offsetReset.id "$1"
  becomes streampipeline/pipeline .status.offsetReset.stage "$2"
}
of_pipeline() { kubectl -n "$WORLD" get streampipeline pipeline -o "jsonpath={$1}"; }
looked() { [ "$(of_pipeline .status.observedGeneration)" = "$(of_pipeline .metadata.generation)" ]; }
patched() { kubectl -n "$WORLD" patch streampipeline pipeline --type merge -p "$1" >/dev/null; }
# request ID FIELDS: to the beginning, as a person would patch it.
request() {
  patched '{"spec":{"offsetReset":null}}'
  patched "{\"spec\":{\"offsetReset\":{\"id\":\"$1\",\"to\":{\"position\":\"Earliest\"},$2}}}"
}
# paused ID [QUIET]: a request that stops the consumers, and they have stopped.
paused() {
  request "$1" "\"whenActive\":\"Pause\",\"quietPeriod\":\"${2:-10s}\""
  replicas 0
  expect "the group is empty" group_is 'Empty 0'
}
# brought_back TIMES: what was stopped runs and has read everything anew; each partition was moved so many times in all.
brought_back() {
  replicas 2
  running
  moved "$1"
}
# landed OFFSET: how many commits of this offset the group's coordinator has in its log, by partition. The consumers never commit 0:
# what is there at 0 was the operator.
landed() { tool commits -group "$WORLD" | awk -v at="$1" '$2 == at { seen[$1]++ } END { print seen[0] + 0, seen[1] + 0, seen[2] + 0 }'; }
# moved TIMES: on each partition.
moved() {
  local seen
  seen=$(landed 0)
  [ "$seen" = "$1 $1 $1" ] || wrong "commits at 0 by partition: $seen; expected $1 on each"
}
# once ID: it is verified, and each partition was moved once.
once() {
  stage "$1" Verified
  moved 1
}
# once_or_held ID BEFORE: the promise where an operator died: moved once and verified, or held and moved at most once.
once_or_held() {
  local how seen n
  expect "$1 has ended" ended "$1"
  how=$(of_pipeline .status.offsetReset.stage) seen=$(landed 0)
  note "$how, commits at 0 by partition: $seen (before: $2)"
  if [ "$how" = Verified ]; then moved $(($2 + 1)) && return; fi
  for n in $seen; do if ((n < $2 || n > $2 + 1)); then wrong "expected $2 or one more"; fi; done
  # Held is for a person to end. Without the request, what was stopped is brought back.
  patched '{"spec":{"offsetReset":null}}'
}
ended() { [[ "$(of_pipeline '.status.offsetReset.id} {.status.offsetReset.stage')" =~ ^$1\ (Verified|Held)$ ]]; }
# first: how often partition 0 was moved.
first() { local seen; seen=$(landed 0); echo "${seen%% *}"; }

# --- the network

# sever TO PORT HOW: from all of the operator's pods to an address of the node; "drop" is silence, "reject with tcp reset" an answer.
sever() { sever_from "$(of_operators .status.podIP | paste -sd,)" "$@"; }
sever_from() {
  nft -f - <<NFT
table inet cut {
  chain input { type filter hook input priority -10; ip saddr { $1 } ip daddr $2 tcp dport $3 $4; }
}
NFT
}
# slow: half of what the broker sends to pods is lost and sent again, so that every call takes a while.
slow() {
  nft -f - <<NFT
table inet cut {
  chain output { type filter hook output priority -10; ip saddr $BROKER_IP tcp sport 9093 numgen random mod 2 0 drop; }
}
NFT
}
# heal: whatever a check has done to the node, also one that was interrupted.
heal() {
  nft delete table inet cut 2>/dev/null || true
  kill -CONT "$(pid_of kube-apiserver)" 2>/dev/null || true
  kubectl uncordon node >/dev/null 2>&1 || true
}
