# The service for a PostgreSQL of yours: docker build -t truss-webhooks .
FROM node:26-slim AS build
WORKDIR /build
COPY package.json package-lock.json ./
COPY scripts scripts
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY . .
# The dashboard and JavaScript; then away with what only built them, the embedded PostgreSQL, and what is for editors.
RUN npm run prepack \
  && npm prune --ignore-scripts --no-audit --no-fund --omit=dev --omit=optional \
  && find dist node_modules -type f \( -name '*.d.ts' -o -name '*.map' \) -delete \
  && rm -rf node_modules/.cache node_modules/effect/src node_modules/@effect/*/src

FROM node:26-slim
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8787 TRUSS_DATA_DIR=/var/lib/truss-webhooks
WORKDIR /app
COPY --from=build /build/package.json /build/LICENSE ./
COPY --from=build /build/node_modules node_modules
COPY --from=build /build/dist dist
RUN install -d -o 1000 -g 1000 -m 700 "$TRUSS_DATA_DIR"
# The image's user `node`, as a number, so that whoever runs it can see that it is not root.
USER 1000:1000
EXPOSE 8787
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/health/live`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# As process 1 it takes SIGTERM itself: deliveries in flight end, their log is written.
ENTRYPOINT ["node", "/app/dist/src/main.js"]
CMD ["serve"]
