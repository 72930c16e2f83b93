#!/usr/bin/env bash
# Runs the image's program against the real servers, under confined.sh: first by itself, then by tests of the suite.
set -euo pipefail
cd "$(dirname "$0")/../.."
archive=${IMAGE:-${CARGO_TARGET_DIR:-target}/image/stream-pipeline-operator.tar}
[ -f "$archive" ] || { echo "there is no $archive: make image" >&2; exit 1; }
[ "$(id -u)" = 0 ] || { echo "this needs root, to give up everything else" >&2; exit 1; }
IMAGE_ROOT=$(mktemp -d)
export IMAGE_ROOT TESTBED_OPERATOR=$PWD/testbed/image/confined.sh
trap 'rm -rf "$IMAGE_ROOT"' EXIT
testbed/image/unpack.sh "$archive" "$IMAGE_ROOT"
"$TESTBED_OPERATOR" --version
cargo test --test it -- --include-ignored --exact \
  installation::image::image_trusts_the_authorities_that_it_brings_and_those_put_in_their_place \
  installation::image::image_resolves_names_without_a_library_of_the_system \
  kafka::targets::k01_earliest_puts_every_partition_at_its_log_start \
  kafka::client_process::a_client_process_that_dies_while_a_request_waits_costs_nothing_but_a_new_one \
  secured::listeners::k01_earliest_is_verified_by_every_way_in \
  secured::rotation::f20_tokens_are_renewed_while_nothing_is_asked_and_a_reset_works_after_that \
  enos::reset::e01_paused_is_reset_once_and_going_back_is_seen_after_the_start \
  enos::addresses::e13_a_certificate_that_does_not_verify_gets_nothing_and_a_good_one_is_trusted_by_its_ca
