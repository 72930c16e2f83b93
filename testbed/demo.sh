#!/usr/bin/env bash
# Shows the main job on a real API server and a real broker. KEEP=1 leaves both up.
set -euo pipefail
cd "$(dirname "$0")/.."
export TESTBED="${CARGO_TARGET_DIR:-target}/debug/testbed"
export OPERATOR="${CARGO_TARGET_DIR:-target}/debug/stream-pipeline-operator"
if [ -z "${KEEP:-}" ]; then
  exec "$TESTBED" exec testbed/demo-steps.sh
fi
export NAME="${NAME:-demo}"
"$TESTBED" up
. "${CARGO_TARGET_DIR:-target}/testbed/$NAME/env"
testbed/demo-steps.sh
cat <<EOT

The servers are still up. To go on by hand:
  . ${CARGO_TARGET_DIR:-target}/testbed/$NAME/env
  make run NAME=$NAME                    # the operator, in a terminal of its own
  kubectl get sp,osr
  make down NAME=$NAME
EOT
