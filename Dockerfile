# A small image with nothing in it but the static binary; it runs as a user without rights.
#
#   docker build -t handstamp .
#   docker run -p 127.0.0.1:7411:7411 -v handstamp:/data handstamp
#
# The first start prints the first access key, so the container's log has it. To keep it out of there, bring a
# key of your own as a secret file and name it in HANDSTAMP_BOOTSTRAP__ACCESS_KEY_FILE (one that was given is never
# printed), or rotate the first one.

# Alpine's own target is musl, and Rust links that statically.
FROM rust:1.95.0-alpine AS build
# The C compiler's headers for SQLite and the cryptography, and the kernel's for the allocator.
RUN apk add --no-cache gcc musl-dev linux-headers
# The image's own toolchain is the pinned one; without this, rustup would fetch components for developers.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p handstamp-server --bin handstamp \
 && strip target/release/handstamp \
 && mkdir -p -m 0700 /image/data

FROM scratch
COPY --from=build /src/target/release/handstamp /usr/local/bin/handstamp
# Brings the empty folder /data; a new volume takes owner and mode from it.
COPY --from=build --chown=65532:65532 /image/ /
USER 65532:65532
# Inside a container 127.0.0.1 would be reached by nobody; which address of the host it gets, `-p` says.
ENV HANDSTAMP_SERVER__LISTEN=0.0.0.0:7411 \
    HANDSTAMP_SERVER__DATA_DIR=/data
VOLUME /data
EXPOSE 7411
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/usr/local/bin/handstamp", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/handstamp"]
CMD ["serve"]
