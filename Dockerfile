# docker build -t dehedge .
# docker run --read-only -v dehedge:/data --env-file .env dehedge
# State (the journal) and markets.toml are in /data; nothing else is written.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/venv
COPY requirements.lock /build/
RUN /opt/venv/bin/python -m pip install --require-hashes --only-binary=:all: --requirement /build/requirements.lock \
    && /opt/venv/bin/python -m pip uninstall --yes pip setuptools
COPY src/dehedge /build/dehedge
COPY .env.example /build/dehedge/env.example
# The package is plain files; byte code is compiled here, for the root file system is read-only later.
RUN mv /build/dehedge "$(/opt/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
    && printf '#!/opt/venv/bin/python\nfrom dehedge.cli import main\n\nmain()\n' > /opt/venv/bin/dehedge \
    && chmod 755 /opt/venv/bin/dehedge \
    && /opt/venv/bin/python -m compileall -q /opt/venv/lib

FROM python:${PYTHON}-slim
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HTTP_HOST=0.0.0.0 \
    HTTP_PORT=8780
RUN groupadd --gid 10001 dehedge \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin dehedge \
    && install --directory --owner=10001 --group=10001 --mode=700 /data
COPY --from=build /opt/venv /opt/venv
COPY --chown=10001:10001 markets.toml /data/
# By number, so that an orchestrator can see that it is not root.
USER 10001:10001
WORKDIR /data
VOLUME ["/data"]
EXPOSE 8780
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['HTTP_PORT'] + '/healthz', timeout=4)"]
ENTRYPOINT ["dehedge"]
CMD ["run"]
