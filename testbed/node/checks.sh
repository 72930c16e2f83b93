#!/usr/bin/env bash
# Runs the checks in the node, one after the other, and counts them.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
for file in "$HERE"/checks/*.sh; do . "$file"; done
import_operator
# A node that was kept may have what an earlier run left.
heal
helm -n $SYSTEM uninstall $RELEASE --no-hooks --wait >/dev/null 2>&1 || true
RUN=$(($(cat $INSIDE/run 2>/dev/null || echo 0) + 1))
echo $RUN >$INSIDE/run
passed=0 failed=0 skipped=0
for name in $(check_names); do
  begun=$SECONDS
  if [ -n "${ONLY:-}" ] && ! matches "$name" $ONLY; then continue; fi
  # A shell of its own, in which the first thing that is not as expected ends the check. Not "if (…)", where it would not.
  set +e
  (set -e; CHECK=$name; trap ends EXIT; "$name")
  code=$?
  set -e
  case $code in
  0) passed=$((passed + 1)) && echo "passed   $name ($((SECONDS - begun)) s)" ;;
  "$SKIPPED") skipped=$((skipped + 1)) ;;
  *) failed=$((failed + 1)) && echo "FAILED   $name ($((SECONDS - begun)) s)" ;;
  esac
done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
