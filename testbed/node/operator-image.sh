#!/usr/bin/env bash
# operator-image.sh BINARY OUT: an image of the operator from the binary and the libraries that it needs. To be deleted once
# `make image` builds the real one.
set -euo pipefail
. "$(dirname "$0")/env.sh"
files=(/stream-pipeline-operator="$1")
for library in $(ldd "$1" | grep -o '/[^ ]*'); do files+=("$library=$(realpath "$library")"); done
"$STATE/bin/tool" image "$2" localhost/stream-pipeline-operator:node /stream-pipeline-operator "${files[@]}"
