#!/usr/bin/env bash
# Builds the commit that is checked out once more, in a clean clone at another path with another target directory and without what Zig
# keeps of the first, and compares the digests of the archives. Needs the first: make image.
set -euo pipefail
cd "$(dirname "$0")/../.."
first=${CARGO_TARGET_DIR:-target}/image/stream-pipeline-operator.tar
[ -f "$first" ] || { echo "there is no $first: make image" >&2; exit 1; }
elsewhere=$(mktemp -d)
trap 'rm -rf "$elsewhere"' EXIT
git clone --quiet --no-hardlinks . "$elsewhere/another/path"
CARGO_TARGET_DIR=$elsewhere/built ZIG_GLOBAL_CACHE_DIR=$elsewhere/zig "$elsewhere/another/path/testbed/image/build.sh"
sha256sum "$first" "$elsewhere/built/image/stream-pipeline-operator.tar"
cmp "$first" "$elsewhere/built/image/stream-pipeline-operator.tar"
echo "the same, byte by byte"
