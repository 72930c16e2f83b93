#!/usr/bin/env bash
# The demo itself; needs the environment of a testbed, TESTBED and OPERATOR. Each step fails loudly.
set -euo pipefail
work=$(mktemp -d)
trap 'jobs -p | xargs -r kill 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT

say() { printf '\n\033[1m== %s\033[0m\n' "$1"; }
look() { printf '   (%s)\n' "$1"; }
fail() { printf '\nThe demo failed: %s\n' "$1" >&2; [ ! -f "$work/operator.log" ] || tail -20 "$work/operator.log" >&2; exit 1; }
groups_tool() { "$KAFKA_BIN/kafka-consumer-groups.sh" --bootstrap-server "$KAFKA_BOOTSTRAP" "$@"; }
positions() { groups_tool --describe --group "$1" 2>/dev/null | awk 'BEGIN {print "topic", "partition", "committed", "end", "lag"} $1==g {print $2, $3, $4, $5, $6}' g="$1" | column -t; }
sum() { groups_tool --describe --group "$1" 2>/dev/null | awk '$1==g {n+=$4} END {print n+0}' g="$1"; }
apply() { sed "s/kafka.example.com:9092/$KAFKA_BOOTSTRAP/; s/turbine-cleaning/$2/g" "$1" | kubectl apply -f -; }
state() { kubectl get sp "$1" -o jsonpath='{.status.conditions[?(@.type=="Ready")].reason}'; }
message() { kubectl get sp "$1" -o jsonpath='{.status.conditions[?(@.type=="Ready")].message}'; }
until_state() {
  for _ in $(seq 300); do [ "$(state "$1")" = "$2" ] && return; sleep 0.2; done
  fail "$1 is $(state "$1") and not $2: $(message "$1")"
}
fill() {
  "$KAFKA_BIN/kafka-topics.sh" --bootstrap-server "$KAFKA_BOOTSTRAP" --create --topic "$1" --partitions 3 >/dev/null
  seq 1 600 | awk '{print "turbine" $1 ":reading " $1}' | "$KAFKA_BIN/kafka-console-producer.sh" --bootstrap-server "$KAFKA_BOOTSTRAP" --topic "$1" --reader-property parse.key=true --reader-property key.separator=: 2>/dev/null
}
consume() { "$KAFKA_BIN/kafka-console-consumer.sh" --bootstrap-server "$KAFKA_BOOTSTRAP" --topic "$1" --group "$2" --from-beginning "${@:3}" >/dev/null 2>&1; }

say "A topic with 600 records; a consumer reads 300 of them and stops"
fill readings
consume readings turbine-cleaning --max-messages 300
before=$(sum turbine-cleaning)
[ "$before" -gt 0 ] || fail "the consumer committed nothing"
positions turbine-cleaning | tee "$work/before"

say "The operator starts, under the rights of the chart"
KUBECONFIG="$OPERATOR_KUBECONFIG" "$TESTBED" run "$OPERATOR" --listen 127.0.0.1:0 --log-format text --allow-plain-http --allowed-endpoints 127.0.0.1 --list-interval 2s >"$work/operator.log" 2>&1 &
look "it may read StreamPipelines and Secrets it is pointed to, write their status, and write records; nothing else"
look "two flags let it reach the simulated EnOS on this machine: --allow-plain-http and --allowed-endpoints"

say "kubectl apply -f examples/earliest.yaml (with this broker's address): read it all again"
sed -n '/^apiVersion/,$p' examples/earliest.yaml
apply examples/earliest.yaml turbine-cleaning
look "it watches the group for ten seconds first: an Empty group is not yet a stopped one"
kubectl get sp turbine-cleaning -w & watch=$!
kubectl wait sp/turbine-cleaning --for=condition=OffsetsReset=True --timeout=60s >/dev/null || fail "$(message turbine-cleaning)"
sleep 0.3; kill "$watch" 2>/dev/null || true
printf '\n%s\n' "$(message turbine-cleaning)"

say "Before and after, by Kafka's own tool"
positions turbine-cleaning >"$work/after"
pr -m -t -w 130 "$work/before" "$work/after"
[ "$(sum turbine-cleaning)" = 0 ] || fail "the group is at $(sum turbine-cleaning), not at 0"

say "The record: the plan, written before anything was sent, and what became of it"
kubectl get osr
kubectl get osr -o jsonpath='{range .items[0].spec.plan.topics[*]}{.name}{"  partition "}{.partition}{"  from "}{.from}{"  to "}{.to}{"\n"}{end}'

say "The same manifest applied again, after the consumer went on"
consume readings turbine-cleaning --max-messages 100
there=$(sum turbine-cleaning)
apply examples/earliest.yaml turbine-cleaning
again=$SECONDS
look "what became of it is looked at in the end"

enos() {
  local host=${ENOS_ENDPOINT#http://} body=${2:-}
  exec 3<>"/dev/tcp/${host%:*}/${host#*:}"
  local method=GET; [ -z "$body" ] || method=POST
  printf '%s /simulator/%s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %s\r\nConnection: close\r\n\r\n%s' "$method" "$1" "$host" "${#body}" "$body" >&3
  cat <&3; exec 3>&-
}
kubectl create secret generic enos-app --from-literal=accessKey="$ENOS_ACCESS_KEY" --from-literal=secretKey="$ENOS_SECRET_KEY" >/dev/null
apply_enos() { sed "s|https://apigw.example.com|$ENOS_ENDPOINT|; s/o15500000000001/$ENOS_ORG/; s/565c0114-0000-4372-86d1-000000000000/$2/; s/name: cleaning/name: $1/; ${3:-}" examples/enos.yaml | kubectl apply -f -; }

say "EnOS (simulated): a reset that the platform answers with 61168, which does not say whether it moved"
enos pipelines "{\"org\":\"$ENOS_ORG\",\"id\":\"demo-2\",\"name\":\"second\",\"status\":\"PAUSED\"}" >/dev/null
enos faults '{"call":"reset","when":"before","kind":{"code":[61168,null]},"pipeline":"demo-2"}' >/dev/null
apply_enos second demo-2
until_state second AverageRateUnavailable
kubectl get sp second
printf '%s\n' "$(message second)"
look "nothing is repeated before a person says so; here one does, with onUnknownOutcome: Retry"
kubectl patch sp second --type=merge -p '{"spec":{"offsetReset":{"onUnknownOutcome":"Retry"}}}' >/dev/null
look "that is looked at in the end: what the first call did is waited for first"

say "EnOS: a pipeline that runs, with a backlog of 5,000,000 records"
enos pipelines "{\"org\":\"$ENOS_ORG\",\"id\":\"demo-1\",\"name\":\"cleaning\",\"status\":\"RUNNING\",\"backing\":{\"series\":{\"offset\":1000000,\"end\":6000000,\"input_per_second\":100}}}" >/dev/null

say "kubectl apply -f examples/enos.yaml: pause it, reset it, start it again"
sed -n '/^spec/,$p' examples/enos.yaml
apply_enos cleaning demo-1
kubectl get sp cleaning -w & watch=$!
until_state cleaning ResetVerified
sleep 0.3; kill "$watch" 2>/dev/null || true
printf '\n%s\n' "$(message cleaning)"
look "the platform shows a position only while a pipeline runs, so the proof came after the start"
say "What the platform was called about it, tokens and reads apart"
enos calls | tr '{' '\n' | grep '"pipeline":"demo-1"' | grep -oE '"call":"(pause|reset|start)"' | tr -d '"' | tee "$work/calls" | column
[ "$(grep -c 'call:reset' "$work/calls")" = 1 ] || fail "the platform was not called once"

say "EnOS: a pipeline that does not exist: 61108"
apply_enos nowhere no-such-id
until_state nowhere PipelineNotFound
kubectl get sp nowhere
printf '%s\n' "$(message nowhere)"
message nowhere | grep -q '^61108: ' || fail "the code is not named"

say "A second pipeline, whose consumer is running"
fill panels
"$TESTBED" run "$KAFKA_BIN/kafka-console-consumer.sh" --bootstrap-server "$KAFKA_BOOTSTRAP" --topic panels --group solar --from-beginning --command-property client.id=solar-1 >/dev/null 2>&1 & consumer=$!
for _ in $(seq 150); do groups_tool --describe --group solar --members 2>/dev/null | grep -q solar-1 && break; sleep 0.2; done
apply examples/earliest.yaml solar
until_state solar GroupActive
kubectl get sp solar
printf '%s\n' "$(message solar)"
message solar | grep -q 'solar-1' || fail "the member is not named"
look "nothing was sent; now the consumer is stopped, and the reset goes through by itself"
kill "$consumer"; wait "$consumer" 2>/dev/null || true
until_state solar ResetVerified
kubectl get sp
[ "$(sum solar)" = 0 ] || fail "the group is at $(sum solar), not at 0"

say "The reset that a person had repeated"
until_state second NoReadBackWhilePaused
kubectl get sp

say "What was applied again: nothing has moved"
# As long as the quiet period of a new request, and a bit: were it new, it would have run.
while [ $((SECONDS - again)) -lt 12 ]; do sleep 0.5; done
[ "$(sum turbine-cleaning)" = "$there" ] || fail "the group moved from $there to $(sum turbine-cleaning)"
[ "$(kubectl get osr -l streampipeline.io/pipeline=turbine-cleaning --no-headers | wc -l)" = 1 ] || fail "there is a record too many"
positions turbine-cleaning
kubectl get sp turbine-cleaning
look "the same id never runs twice; a new spec.offsetReset.id is a new request"

say "Done: every step was as expected"
