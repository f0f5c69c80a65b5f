# syntax=docker/dockerfile:1
# CodeHearth for the CPU, with its page and the starter model.
#
#   docker build -t codehearth .                     the whole
#   docker build -t codehearth:slim --target slim .  without the page
#
# The steps are plain shell over one Debian base, so that scripts/build_without_docker.py can run
# this very file in a root made by debootstrap. docs/guide/container.md has the sizes.

FROM debian:trixie-slim AS base
# Versions are those of the release: Debian's security updates are wanted.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libgomp1 python3 \
    && rm -rf /var/lib/apt/lists/*

FROM base AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends binutils python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements.txt ./
RUN python3 -m venv /opt/hearth \
    && /opt/hearth/bin/pip install --no-cache-dir --no-compile --require-hashes \
        --requirement requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY docs/hearth.1 docs/
COPY deploy/container/slim.py deploy/container/
COPY src src
RUN /opt/hearth/bin/pip install --no-cache-dir --no-compile --no-deps . \
    && python3 deploy/container/slim.py /opt/hearth

FROM build AS build-slim
RUN python3 deploy/container/slim.py /opt/hearth --without-page

FROM base AS runtime
# Keys, records, models and engines: one volume. A number, so that Kubernetes can see that it is
# not root.
RUN useradd --uid 10001 --user-group --home-dir /data --no-create-home --shell /usr/sbin/nologin hearth \
    && install -d -o hearth -g hearth -m 700 /data
ENV PATH=/opt/hearth/bin:/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    HEARTH_DATA=/data/hearth \
    HEARTH_HOST=0.0.0.0 \
    HF_HOME=/data/huggingface \
    MODELSCOPE_CACHE=/data/modelscope \
    XDG_CONFIG_HOME=/data/config
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8765
# The door is open for /health without a key.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --start-interval=2s --retries=3 \
    CMD ["python3", "-c", "import urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:8765/health', timeout=4)"]
ENTRYPOINT ["hearth"]
# Serves the best model that is here, at first the starter; prints the first key.
CMD ["up", "--offline"]

FROM runtime AS slim
ENV HEARTH_PAGE=false
COPY --from=build-slim /opt/hearth /opt/hearth

FROM runtime AS full
COPY --from=build /opt/hearth /opt/hearth
