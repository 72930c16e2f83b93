#!/usr/bin/env bash
# Installs the operator on a node of its own and uses it as people do. Ends with "N passed, N failed, N skipped".
#   BINARY   the operator; else the image that `make image` has built, else the release, which is built
#   CHART    another chart
#   ONLY     words that the names of the checks to run have in them
#   KEEP=1   the node stays up
set -euo pipefail
cd "$(dirname "$0")/../.."
. testbed/node/env.sh
begun=$SECONDS
why=$(testbed/node/why-not.sh)
if [ -n "$why" ]; then
  . testbed/node/lib.sh
  skip_all "$(head -n 1 <<<"$why")"
  say "$why"
  exit
fi
image=${CARGO_TARGET_DIR:-target}/image/stream-pipeline-operator.tar
if [ -z "${BINARY:-}" ] && [ ! -f "$image" ]; then
  ${CARGO:-cargo} build --release --package stream-pipeline-operator
  BINARY=${CARGO_TARGET_DIR:-target}/release/stream-pipeline-operator
fi
if [ -z "${KEEP:-}" ]; then trap testbed/node/down.sh EXIT; fi
testbed/node/up.sh
if [ -n "${BINARY:-}" ]; then
  testbed/node/operator-image.sh "$BINARY" "$STATE/images/operator.tar"
else
  cp "$image" "$STATE/images/operator.tar"
fi
say "the operator is ${BINARY:-$image}"
result=0
testbed/node/enter.sh env ONLY="${ONLY:-}" ${CHART:+CHART="$(realpath "$CHART")"} testbed/node/checks.sh || result=$?
say "$((SECONDS - begun)) s in all"
exit $result
