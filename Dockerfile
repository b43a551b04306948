# tale in a container: `docker build -t tale .`; how to run it is in docs/guides/containers.md.
# Models are not in the image: the first start fetches them into the volume.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim-trixie AS build
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /src
# The dependencies are a layer of their own, which a change of tale itself leaves as it is.
COPY requirements.lock ./
RUN uv venv /opt/tale \
 && uv pip install --no-cache --python /opt/tale/bin/python --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY man man
COPY src src
RUN uv pip install --no-cache --python /opt/tale/bin/python --no-deps .

FROM python:${PYTHON}-slim-trixie
# bubblewrap is the sandbox in which tasks run programs; git is for those that use it.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends bubblewrap git \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 1000 --user-group --create-home tale \
 && install --directory --owner=tale --group=tale --mode=0700 /data
COPY --from=build /opt/tale /opt/tale
ENV PATH=/opt/tale/bin:$PATH TALE_HOME=/data
USER 1000:1000
WORKDIR /home/tale
VOLUME /data
STOPSIGNAL SIGTERM
# The first start fetches 1.6 GB of models, during which nothing is wrong.
HEALTHCHECK --interval=60s --timeout=15s --start-period=15m --retries=3 \
  CMD ["tale", "status", "--json"]
CMD ["tale", "serve"]
