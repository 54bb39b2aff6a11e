FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json ./
COPY scripts/build.js ./scripts/
COPY src ./src
COPY console ./console
RUN npm run build

# The one package that is not bundled, as it is native: SQLite, for usage.db. Its part for Alpine is
# 10 MB that nothing here loads.
FROM node:24-bookworm-slim AS library
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund \
 && rm -rf node_modules/@libsql/*-musl*

FROM node:24-bookworm-slim
LABEL org.opencontainers.image.title="litellm-sidecar" \
      org.opencontainers.image.description="A reverse proxy in front of an unmodified LiteLLM that enforces and rotates its master key" \
      org.opencontainers.image.licenses="MIT"
WORKDIR /app
COPY --from=build /app/dist ./dist
COPY --from=library /app/node_modules ./node_modules
# A volume takes owner and mode from what the image has in its place. The group of /slots and
# /reports is the one that LiteLLM's container is added to, which writes the latter as root or as
# another user; the setgid bit hands it on to what is made there.
RUN node -e "new (require('libsql'))(':memory:')" \
 && chmod 755 dist/cli.js && ln -s /app/dist/cli.js /usr/local/bin/sidecar \
 && install -d -o node -g node -m 700 /state \
 && install -d -o node -g 4000 -m 2750 /slots \
 && install -d -o root -g 4000 -m 2770 /reports
# The ports are published, or not, by who runs the container.
ENV NODE_ENV=production \
    SIDECAR_HOST=0.0.0.0 \
    SIDECAR_OPS_HOST=0.0.0.0 \
    SIDECAR_STATE=/state
USER node
EXPOSE 4000 4001
# Ready, not just alive: `docker compose up --wait` then means that LiteLLM answers.
HEALTHCHECK --interval=3s --timeout=3s --start-period=180s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.SIDECAR_OPS_PORT || 4001}/readyz`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/app/dist/cli.js"]
CMD ["serve"]
