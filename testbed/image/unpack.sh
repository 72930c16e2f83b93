#!/bin/sh
# unpack.sh ARCHIVE DIRECTORY: the files of an image, and the empty places that a container's runtime mounts over.
set -eu
archive=$1 to=$2
layer=$(tar -xOf "$archive" manifest.json | sed 's/.*"Layers":\["\([^"]*\)"\].*/\1/')
rm -rf "$to"
mkdir -p "$to"
tar -xOf "$archive" "$layer" | tar -xz -C "$to" --no-same-owner
mkdir "$to/proc" "$to/run" "$to/dev"
touch "$to/dev/null" "$to/etc/hosts" "$to/etc/resolv.conf"
