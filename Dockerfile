# The image, for who has a container engine. `make image` makes the same without one, by the same script; why it is linked as it is,
# and what is in it: docs/design/image.md.
#   docker build --tag stream-pipeline-operator:0.1.0 .            the image; --platform linux/arm64 for that (nothing is emulated)
#   docker build --target archive --output target/image .          the archive and the SBOM, with the digest that `make image` gives
FROM --platform=$BUILDPLATFORM golang:1.26.8-bookworm AS go
FROM --platform=$BUILDPLATFORM rust:1.95.0-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends python3-pip
COPY --from=go /usr/local/go /usr/local/go
WORKDIR /build
COPY . .
ARG TARGETARCH SOURCE
RUN PATH=$PATH:/usr/local/go/bin ARCH=$TARGETARCH SOURCE=$SOURCE OUT=/image testbed/image/build.sh

FROM scratch AS archive
COPY --from=build /image/*.tar /image/*.cdx.json /

FROM scratch
COPY --from=build /image/root /
USER 65532:65532
ENTRYPOINT ["/stream-pipeline-operator"]
