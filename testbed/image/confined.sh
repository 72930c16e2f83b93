#!/bin/sh
# Runs the program of an image as a container's runtime does: with the image's files alone, none of which it may change, as the
# image's user, without rights. Needs root. The process keeps the id of this one, and the mounts end with it.
#   IMAGE_ROOT   where unpack.sh has put the image
#   IMAGE_CAS    a file in the place of the image's certificate authorities (may be missing)
#   KUBECONFIG   copied, with the CA it names (may be missing)
#   HOSTS        a file in the place of this machine's /etc/hosts (may be missing)
set -eu
export IMAGE_ROOT
exec unshare --mount --propagation private sh -euc '
  root=$IMAGE_ROOT
  mount --bind "$root" "$root"
  mount -t proc proc "$root/proc"
  mount -t tmpfs -o mode=755 tmpfs "$root/run"
  mount --bind /dev/null "$root/dev/null"
  mount --bind "${HOSTS:-/etc/hosts}" "$root/etc/hosts"
  mount --bind /etc/resolv.conf "$root/etc/resolv.conf"
  [ -z "${IMAGE_CAS:-}" ] || mount --bind "$IMAGE_CAS" "$root/etc/ssl/certs/ca-certificates.crt"
  if [ -n "${KUBECONFIG:-}" ]; then
    ca=$(sed -n "s/.*certificate-authority: \"\([^\"]*\)\".*/\1/p" "$KUBECONFIG")
    sed "s|$ca|/run/ca.crt|" "$KUBECONFIG" >"$root/run/kubeconfig"
    cp "$ca" "$root/run/ca.crt"
    chmod 444 "$root/run/kubeconfig" "$root/run/ca.crt"
    export KUBECONFIG=/run/kubeconfig
  fi
  mount -o remount,bind,ro "$root"
  exec setpriv --no-new-privs chroot --userspec=65532:65532 "$root" /stream-pipeline-operator "$@"
' confined "$@"
