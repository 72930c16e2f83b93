#!/usr/bin/env bash
# Builds the image: the program with everything it links, the list of what is in it, then the archive. The reasons, and what makes
# two builds the same, are in docs/design/image.md.
#   ARCH     amd64 (default) or arm64
#   TAG      the image's name and tag; default stream-pipeline-operator:VERSION
#   SOURCE   the address of the source, for the label; left out where it is not set
#   OUT      where the archive, the SBOM and the files go; default target/image, for arm64 target/image-arm64
set -euo pipefail
cd "$(dirname "$0")/../.."
case ${ARCH:=amd64} in
amd64) cpu=x86_64 dir=image ;;
arm64) cpu=aarch64 dir=image-arm64 ;;
*)
  echo "ARCH is amd64 or arm64, not $ARCH" >&2
  exit 1
  ;;
esac
sh testbed/tools.sh image
field() { sed -n "s/^$1 *= *\"\(.*\)\"/\1/p" "$2" | head -n 1; }
src=$PWD rust=$(field channel rust-toolchain.toml) version=$(field version Cargo.toml) target=$cpu-unknown-linux-musl
revision=$(git rev-parse HEAD)
[ -z "$(git status --porcelain)" ] || revision+=-modified
created=$(git log -1 --format=%ct)
mkdir -p "${CARGO_TARGET_DIR:-target}"
built=$(cd "${CARGO_TARGET_DIR:-target}" && pwd -P)
out=${OUT:-$built/$dir}
mkdir -p "$out" "$built/image-tools"

# The tools, each of one version, beside the servers that the testbed builds.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/stream-pipeline-operator
zig=$cache/zig-$(sed -n 's/^ziglang==\([0-9.]*\).*/\1/p' testbed/image/requirements.txt)
cyclonedx=$cache/cargo-cyclonedx-0.5.9
if [ ! -d "$zig" ]; then
  rm -rf "$zig.partial"
  python3 -m pip install --quiet --require-hashes --target "$zig.partial" -r testbed/image/requirements.txt
  mv "$zig.partial" "$zig"
fi
rustup target add --toolchain "$rust" "$target"
for name in zigcc zigar zigranlib; do ln -sf "$src/testbed/image/zig.sh" "$built/image-tools/$name"; done

# Cargo does not see when these change.
made=$(cat testbed/image/zig.sh testbed/image/perl.sh | sha256sum)
if [ "$(cat "$built/image-tools/$target" 2>/dev/null)" != "$made" ]; then
  cargo clean --quiet --release --target "$target" --package openssl-sys --package rdkafka-sys --package ring
  echo "$made" >"$built/image-tools/$target"
fi

echo "building the program for $target …"
(
  export PATH="$built/image-tools:$zig/ziglang:$PATH" ZIG_TARGET=$cpu-linux-musl
  export OPENSSL_SRC_PERL=$src/testbed/image/perl.sh
  # OpenSSL writes down when it was built. A fixed time, so that only the source makes a difference.
  export SOURCE_DATE_EPOCH=1
  # C by Zig. librdkafka's build reads the names without a target and knows no host, so what is built to run here gets its own.
  export CC=zigcc AR=zigar RANLIB=zigranlib HOST_CC=cc HOST_AR=ar
  export "CC_${target//-/_}=zigcc" "AR_${target//-/_}=zigar" "RANLIB_${target//-/_}=zigranlib"
  # It must find no library of this machine, and needs no C++ library, no shared one with a list of symbols, none with OpenSSL in it.
  export PKG_CONFIG=false GNUMAKEFLAGS="LIBSUBDIRS=src WITH_LDS=" MKL_NO_SELFCONTAINED_STATIC_LIB=y
  # Rust's own linker, start files and libc; no path of this machine in messages.
  of_target=CARGO_TARGET_$(tr a-z- A-Z_ <<<"$target")
  remap="--remap-path-prefix=$src=/src --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo --remap-path-prefix=$built=/target"
  # A megabyte of relocations is packed into some kilobytes.
  export "${of_target}_LINKER=rust-lld" "${of_target}_RUSTFLAGS=$remap -Clink-arg=-zpack-relative-relocs"
  cargo build --release --locked --package stream-pipeline-operator --target "$target"
)

echo "listing what is in it …"
[ -x "$cyclonedx/bin/cargo-cyclonedx" ] || cargo install --quiet --locked --root "$cyclonedx" "cargo-cyclonedx@${cyclonedx##*-}"
# The tool writes beside the manifest of each crate of the workspace.
bom=sbom-of-the-image
SOURCE_DATE_EPOCH=$created PATH="$cyclonedx/bin:$PATH" cargo cyclonedx --quiet --format json --spec-version 1.5 --target "$target" --override-filename "$bom"
mv "$bom.json" "$out/cargo.cdx.json"
find . -path ./target -prune -o -name "$bom.json" -exec rm {} +

GOTOOLCHAIN=$(sed -n 's/^toolchain //p' testbed/image/go.mod) GOWORK=off CGO_ENABLED=0 \
  go -C testbed/image build -trimpath -o "$built/image-tools/image" .
"$built/image-tools/image" -program "$built/$target/release/stream-pipeline-operator" -sbom "$out/cargo.cdx.json" -out "$out" \
  -arch "$ARCH" -tag "${TAG:-stream-pipeline-operator:$version}" -source "${SOURCE:-}" -version "$version" -revision "$revision" \
  -licence "$(field license Cargo.toml)" -description "$(field description Cargo.toml)" -rust "$rust" -created "$created"
