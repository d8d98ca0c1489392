# rscore in a container: `serve` by default, `batch` and every other subcommand by argument.
#
#   docker build -t rscore .
#   docker build -t rscore --build-arg MODELS=samples .                    with the sample models inside
#   docker build -t rscore --build-arg BASE_IMAGE=rocker/r-ver:4.4 .       another R
#
# The binary links the libR of the image that it was built in, by an rpath: R lies at the same
# place in all stages because all stages begin with the same one. See docs/containers.md.

# Debian, or any image derived from it that has R; R from Debian is installed where there is none.
ARG BASE_IMAGE=debian:bookworm-slim
# Where the Rust toolchain is taken from.
ARG RUST_IMAGE=rust:1-slim-bookworm
# Models inside the image: `none`, or `samples` for those of scripts/train but the one for batch, oj-forecast.
ARG MODELS=none

FROM ${RUST_IMAGE} AS rust

# R and the packages that models need: one layer that changes only with the list of packages.
FROM ${BASE_IMAGE} AS r
USER root
ENV DEBIAN_FRONTEND=noninteractive
COPY scripts/lib/r-packages.txt scripts/lib/install-r-packages /opt/rscore/
RUN apt-get update \
    && { command -v Rscript >/dev/null || apt-get install --yes --no-install-recommends r-base-core; } \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && /opt/rscore/install-r-packages /opt/rscore/r-packages.txt \
    && rm -rf /var/lib/apt/lists/*

FROM r AS build
COPY --from=rust /usr/local/cargo /usr/local/cargo
COPY --from=rust /usr/local/rustup /usr/local/rustup
ENV CARGO_HOME=/usr/local/cargo RUSTUP_HOME=/usr/local/rustup PATH=/usr/local/cargo/bin:$PATH
# Where R is not Debian's its headers came with it.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends build-essential cmake pkg-config \
    && { ! dpkg-query -W r-base-core >/dev/null 2>&1 || apt-get install --yes --no-install-recommends r-base-dev; } \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY Cargo.toml Cargo.lock build.rs ./
COPY src src
# Benchmarks and tests are declared in Cargo.toml, so their files must be there; the binary needs neither.
COPY benches benches
RUN mkdir -p tests/integration && echo 'fn main() {}' > tests/integration/main.rs \
    && cargo build --release --locked --bin rscore \
    && strip target/release/rscore \
    && mv target/release/rscore /usr/local/bin/ \
    && rm -rf target "$CARGO_HOME/registry"

FROM r AS models-none
RUN mkdir /models

FROM r AS models-samples
COPY models /source/models
COPY scripts /source/scripts
RUN cd /source \
    && for script in scripts/train-boston.R scripts/train-iris.R scripts/train-mpg.R scripts/train-rides.R; do \
         Rscript --vanilla "$script" || exit 1; \
       done \
    && mkdir /models \
    && for model in boston iris mpg rides; do mv "models/$model" /models/ || exit 1; done

FROM models-${MODELS} AS models

FROM r
LABEL org.opencontainers.image.title="rscore" \
      org.opencontainers.image.description="A server for R models" \
      org.opencontainers.image.licenses="Apache-2.0"
# Nobody's user: the image writes nowhere but to /tmp and, where it is mounted, /var/cache/rscore.
RUN mkdir -p /var/cache/rscore && chown 10001:10001 /var/cache/rscore
COPY --from=models /models /models
COPY --from=build /usr/local/bin/rscore /usr/local/bin/rscore
ENV RSCORE_MODELS__PATH=/models RSCORE_LOG__FORMAT=json HOME=/tmp LANG=C.UTF-8
USER 10001:10001
WORKDIR /tmp
EXPOSE 8443 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["rscore", "health"]
ENTRYPOINT ["rscore"]
CMD ["serve"]
