# A node in a container. Build: docker build -t authrai .
# Set up, once, and run:
#   docker run --rm -v authrai:/var/lib/authrai authrai cluster init
#   docker run -d -p 8080:8080 -v authrai:/var/lib/authrai authrai
# scripts/compose.yaml runs a cluster of three.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY cluster cluster
COPY src src
COPY tests tests
COPY benches benches
RUN cargo build --locked --release --bin authrai \
 && strip target/release/authrai

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/authrai --create-home authrai \
 && install -d -o authrai -m 0700 /etc/authrai
COPY --from=build /src/target/release/authrai /usr/local/bin/authrai
USER authrai
VOLUME /var/lib/authrai
ENV AUTHRAI__LISTEN=0.0.0.0:8080 \
    AUTHRAI_METRICS__LISTEN=0.0.0.0:9464 \
    AUTHRAI_LOG__FORMAT=json
EXPOSE 8080 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["authrai", "health"]
ENTRYPOINT ["authrai"]
CMD ["serve"]
