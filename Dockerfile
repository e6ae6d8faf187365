# syntax=docker/dockerfile:1.7
# The program and its licence, nothing else: no shell, no package manager, not root.
#   docker build -t highwater .
#   docker run --rm -p 127.0.0.1:8080:8080 highwater demo --insecure --set dashboard.listen=0.0.0.0:8080

FROM rust:1.95-slim-bookworm AS build
# librdkafka is built from source; with the feature `tls` it is linked with Debian's OpenSSL, which the last image has too.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ libssl-dev make pkg-config \
    && rm -rf /var/lib/apt/lists/*
# Into the program: the last image has no zlib.
ENV LIBZ_SYS_STATIC=1
WORKDIR /src
COPY . .
ARG FEATURES=""
# Shown by /healthz: a commit, for example.
ARG BUILD=""
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    if [ -n "$BUILD" ]; then export HIGHWATER_BUILD="$BUILD"; fi; \
    cargo build --release --locked --package highwater --features "$FEATURES" \
    && cp target/release/highwater /highwater \
    && strip --strip-debug /highwater

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build --chmod=755 /highwater /usr/local/bin/highwater
COPY LICENSE /usr/share/doc/highwater/LICENSE
# ingest, dashboard, admin
EXPOSE 8088 8080 9600
ENTRYPOINT ["/usr/local/bin/highwater"]
CMD ["--help"]
