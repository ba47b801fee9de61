# One image for every pipeline: the runner, the pipelines of this repository and their topic catalogs.
# By digest, so that the image cannot change: --build-arg NODE_IMAGE=node@sha256:… (docs/guide/install.md).
ARG NODE_IMAGE=node:24-slim
FROM ${NODE_IMAGE} AS packages
WORKDIR /app
COPY package.json package-lock.json ./
COPY scripts scripts
RUN node scripts/image-packages.js && npm install --ignore-scripts --no-audit --no-fund && npm cache clean --force

FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY scripts scripts
COPY schemas schemas
COPY src src
RUN npm run build

FROM ${NODE_IMAGE}
# The container's own network reads the metrics; KAFKA_METRICS_TOKEN sets a token.
ENV NODE_ENV=production \
    KAFKA_METRICS_ENABLED=true \
    KAFKA_METRICS_HOST=0.0.0.0 \
    KAFKA_METRICS_ALLOW_UNAUTHENTICATED=true \
    KAFKA_METRICS_PORT=8000 \
    RUNNER_STATE_DIR=/data
WORKDIR /app
COPY --from=packages /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY package.json ./
COPY bin bin
COPY schemas schemas
COPY examples examples
COPY topics topics
COPY pipelines pipelines
# State (spilled queues, local checkpoints, the embedded log) belongs on a volume that the unprivileged user may write.
RUN mkdir /data && chown node:node /data
VOLUME /data
USER node
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.KAFKA_METRICS_PORT}/health`).then(r => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# Node handles signals itself; it must be process 1's direct child or process 1, not below a shell or npm.
ENTRYPOINT ["node", "--disable-warning=TimeoutNegativeWarning", "--", "/app/bin/runner.js"]
CMD ["--help"]
