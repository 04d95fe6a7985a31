# Pin it by its digest: --build-arg PYTHON_IMAGE=python:3.12-slim@sha256:...
ARG PYTHON_IMAGE=python:3.12-slim
FROM ${PYTHON_IMAGE}

RUN apt-get update \
    && apt-get install -y --no-install-recommends bubblewrap git libseccomp2 openssh-client \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 runners \
    && install -d -o runners -g runners -m 0700 /data

WORKDIR /app
# The dependencies change less often than the code, so they get a layer of their own.
COPY setup.cfg pyproject.toml constraints.txt README.md LICENSE ./
RUN pip install --no-cache-dir --constraint constraints.txt --editable ".[server]"
# The agents to install, such as --build-arg AGENTS="codex claude". `shell` needs no program.
ARG AGENTS=""
COPY bin/install-agents ./bin/install-agents
RUN [ -z "$AGENTS" ] || bin/install-agents $AGENTS
COPY Procfile ./
COPY docs ./docs
COPY app ./app
COPY tasks ./tasks
COPY workers ./workers
COPY migrations ./migrations
# Again, now that the packages exist.
RUN pip install --no-cache-dir --no-deps --editable . \
    # The user of the image may not write bytecode, and without it each process compiles everything at its start.
    && python -m compileall -q app tasks workers migrations

USER runners
ENV AGENT_RUNNERS_DATA_DIR=/data \
    AGENT_RUNNERS_WEB_HOST=0.0.0.0
VOLUME /data
ENTRYPOINT ["agent-runners"]
CMD ["web"]
