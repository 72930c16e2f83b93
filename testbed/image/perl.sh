#!/bin/sh
# The perl that configures OpenSSL for the image (build.sh names it so): without the protocols and ciphers that no Kafka broker speaks, which
# would be half a megabyte. What is left is what the tests of the image connect with (test.sh).
case ${1:-} in
*Configure) exec perl "$@" no-quic no-dtls no-srp no-cmp no-cms no-ts no-ec2m no-slh-dsa \
  no-aria no-bf no-cast no-rc2 no-rc4 no-sm2 no-sm3 no-sm4 no-whirlpool ;;
*) exec perl "$@" ;;
esac
