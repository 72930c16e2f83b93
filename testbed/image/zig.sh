#!/bin/sh
# zigcc, zigar and zigranlib (build.sh links these names to this file): C for the image, by a compiler that is the same on every
# machine. Asked for by name and not by path, they leave no path in what they make.
tool=${0##*/zig}
[ "$tool" = cc ] || exec zig "$tool" "$@"
for arg; do
  shift
  case $arg in
  # Rust's name of the target, which Zig does not know.
  --target=*) ;;
  # OpenSSL would write down where it was built, and look there for more code to load.
  -DMODULESDIR=* | -DENGINESDIR=*) set -- "$@" "${arg%%=*}=\"/nonexistent\"" ;;
  *) set -- "$@" "$arg" ;;
  esac
done
# Zig would add checks for undefined behaviour, which a release has not. Nothing unwinds through C, so it needs no tables for that. Each function
# by itself, so that the linker leaves out those that nobody calls.
exec zig cc -target "$ZIG_TARGET" -fno-sanitize=all -fno-asynchronous-unwind-tables -fno-unwind-tables -ffunction-sections -fdata-sections "$@"
