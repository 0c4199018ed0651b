# Two stages: the first has pip, the second only what runs. The same file serves `docker build .` and offline builds.
# Releases pin its digest; offline, an image of this name is made from packages.
ARG BASE=docker.io/library/python:3.13-slim
FROM ${BASE} AS build
RUN python -m venv /opt/venv
COPY requirements.lock .
RUN /opt/venv/bin/pip install --no-cache-dir --require-hashes --requirement requirements.lock
COPY operator /app
# Compiled here: with a read-only root file system it could never be done later, and every start would pay for it.
RUN /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /app

FROM ${BASE}
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
# What is needed for a moment only, as lists and the metrics of a thousand services are, goes back to the system: buffers
# over 128 KiB are mapped each by itself (glibc would raise that limit by and by), and threads share two arenas.
ENV PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=131072 MALLOC_TRIM_THRESHOLD_=131072
# A user that the image does not know, as OpenShift chooses them, has a home all the same: libraries look for files there.
ENV HOME=/
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["/opt/venv/bin/python", "-m", "resilience"]
CMD ["run"]
