import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Redacted } from "effect"
import { loopbackAndPrivate, parseEgressAllow } from "../../src/domain/EgressAllow.ts"
import { generateEncryptionKey } from "../../src/services/EncryptionKey.ts"
import { isLoopback, Settings, type SettingsFlags } from "../../src/services/Settings.ts"

const read = (env: Record<string, string>, flags?: SettingsFlags) =>
  Settings.read(flags).pipe(
    Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnvRecord(env))
  )

const faults = (env: Record<string, string>) => Effect.map(Effect.flip(read(env)), (error) => error.faults)

const fault = Effect.fnUntraced(function*(name: string, value: string) {
  const lines = yield* faults({ [name]: value })
  assert.strictEqual(lines.length, 1)
  assert.isTrue(lines[0].startsWith(`${name} must be `), lines[0])
  return lines[0]
})

describe("Settings", () => {
  it.effect("has a default for everything", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* read({}), {
        databaseUrl: undefined,
        databaseListenUrl: undefined,
        databasePrepare: true,
        listen: "auto",
        host: "127.0.0.1",
        port: 8787,
        portGiven: false,
        dataDir: ".truss",
        auth: "open",
        apiKey: undefined,
        encryptionKeys: undefined,
        kratosUrl: undefined,
        serverUrl: "http://localhost:8787",
        concurrency: 256,
        retentionDays: 7,
        maxPayload: 1_048_576,
        disableAfterMs: 5 * 86_400_000,
        alertUrl: undefined,
        egressAllow: loopbackAndPrivate,
        logLevel: undefined,
        logFormat: undefined,
        otlpEndpoint: undefined,
        otlpHeaders: undefined,
        otelServiceName: undefined,
        otelResource: {},
        traceDeliveries: false,
        cluster: undefined,
        clusterListen: undefined,
        clusterToken: undefined,
        unknown: []
      })
    }))

  it.effect("reads every setting from the environment", () =>
    Effect.gen(function*() {
      const apiKey = `truss_sk_${"k".repeat(23)}`
      const settings = yield* read({
        DATABASE_URL: "postgres://app:secret@db.example:5432/app?sslmode=require",
        DATABASE_LISTEN_URL: "postgresql://app:secret@direct.example/app",
        DATABASE_PREPARE: "false",
        TRUSS_LISTEN: "off",
        HOST: "::",
        PORT: "0",
        TRUSS_DATA_DIR: "/var/lib/truss",
        TRUSS_AUTH: "open",
        TRUSS_API_KEY: apiKey,
        TRUSS_ENCRYPTION_KEY: `${generateEncryptionKey()},${generateEncryptionKey()}`,
        KRATOS_PUBLIC_URL: "https://auth.example.com/kratos/",
        TRUSS_URL: "https://truss.example",
        TRUSS_CONCURRENCY: "16",
        TRUSS_RETENTION: "30 days",
        TRUSS_MAX_PAYLOAD: "65536",
        TRUSS_DISABLE_AFTER: "12 hours",
        TRUSS_ALERT_URL: "https://alerts.example.com/hook?token=1",
        TRUSS_EGRESS_ALLOW: "::1, 10.1.2.3/8,Hooks.Internal,*.corp.example",
        LOG_LEVEL: "DEBUG",
        LOG_FORMAT: "json",
        OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector:4318",
        OTEL_EXPORTER_OTLP_HEADERS: "authorization=Basic%20eDp5, x-scope-orgid = 7,",
        OTEL_SERVICE_NAME: "orders-webhooks",
        OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=production,host.name=a%2Cb",
        TRUSS_CLUSTER: "[fd00::4]:7788",
        TRUSS_CLUSTER_LISTEN: "0.0.0.0:7789",
        TRUSS_CLUSTER_TOKEN: "t".repeat(32),
        TRUSS_TRACE_DELIVERIES: "true"
      })
      assert.strictEqual(
        settings.databaseUrl && Redacted.value(settings.databaseUrl),
        "postgres://app:secret@db.example:5432/app?sslmode=require"
      )
      assert.strictEqual(
        settings.databaseListenUrl && Redacted.value(settings.databaseListenUrl),
        "postgresql://app:secret@direct.example/app"
      )
      assert.strictEqual(settings.apiKey && Redacted.value(settings.apiKey), apiKey)
      assert.lengthOf(settings.encryptionKeys ?? [], 2)
      assert.strictEqual(settings.clusterToken && Redacted.value(settings.clusterToken), "t".repeat(32))
      assert.deepStrictEqual(
        settings.otlpHeaders && { ...Redacted.value(settings.otlpHeaders) },
        { "authorization": "Basic eDp5", "x-scope-orgid": "7" }
      )
      const {
        apiKey: _,
        clusterToken: _token,
        databaseListenUrl: _listenUrl,
        databaseUrl: _url,
        encryptionKeys: _keys,
        otlpHeaders: _headers,
        ...rest
      } = settings
      assert.deepStrictEqual({ ...rest, otelResource: { ...rest.otelResource } }, {
        databasePrepare: false,
        listen: "off",
        host: "::",
        port: 0,
        portGiven: true,
        dataDir: "/var/lib/truss",
        auth: "open",
        kratosUrl: "https://auth.example.com/kratos",
        serverUrl: "https://truss.example",
        concurrency: 16,
        retentionDays: 30,
        maxPayload: 65_536,
        disableAfterMs: 12 * 3_600_000,
        alertUrl: "https://alerts.example.com/hook?token=1",
        egressAllow: [
          { _tag: "Addresses", cidr: { address: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], prefix: 128 } },
          { _tag: "Addresses", cidr: { address: [10, 1, 2, 3], prefix: 8 } },
          { _tag: "Host", name: "hooks.internal" },
          { _tag: "Below", domain: ".corp.example" }
        ],
        logLevel: "Debug",
        logFormat: "json",
        otlpEndpoint: "http://collector:4318",
        otelServiceName: "orders-webhooks",
        otelResource: { "deployment.environment.name": "production", "host.name": "a,b" },
        traceDeliveries: true,
        cluster: { host: "fd00::4", port: 7788 },
        clusterListen: { host: "0.0.0.0", port: 7789 },
        unknown: []
      })
    }))

  it.effect("lets flags win, over invalid variables too", () =>
    Effect.gen(function*() {
      const settings = yield* read({ HOST: "0.0.0.0", PORT: "no", TRUSS_DATA_DIR: "a" }, {
        host: "localhost",
        port: 9000,
        dataDir: "b",
        databaseUrl: Redacted.make("postgres://db/app")
      })
      assert.strictEqual(settings.host, "localhost")
      assert.strictEqual(settings.port, 9000)
      assert.strictEqual(settings.dataDir, "b")
      assert.strictEqual(settings.auth, "open")
      assert.strictEqual(settings.databaseUrl && Redacted.value(settings.databaseUrl), "postgres://db/app")
    }))

  it.effect("names every fault at once, with what is allowed", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* faults({ PORT: "http", TRUSS_AUTH: "none", TRUSS_RETENTION: "1 hour" }), [
        `PORT must be a whole number from 0 to 65535, not "http"`,
        `TRUSS_AUTH must be open or required, not "none"`,
        `TRUSS_RETENTION must be whole days, at least 1, such as "7 days", not "1 hour"`
      ])
    }))

  it.effect.each(
    [
      ["DATABASE_URL", "mysql://db/app"],
      ["DATABASE_URL", "postgres://"],
      ["DATABASE_URL", "localhost:5432"],
      ["DATABASE_URL", "postgres://db/app?sslmode=maybe"],
      ["DATABASE_PREPARE", "maybe"],
      ["TRUSS_LISTEN", "on"],
      ["HOST", "a host"],
      ["HOST", "http://127.0.0.1"],
      ["PORT", "65536"],
      ["PORT", "-1"],
      ["PORT", "80.5"],
      ["PORT", "0x50"],
      ["TRUSS_DATA_DIR", " "],
      ["TRUSS_AUTH", "constructor"],
      ["TRUSS_API_KEY", "truss_sk_short"],
      ["TRUSS_API_KEY", `other_sk_${"k".repeat(32)}`],
      ["TRUSS_API_KEY", `truss_sk_${"k ".repeat(16)}`],
      ["TRUSS_ENCRYPTION_KEY", Buffer.alloc(31).toString("base64")],
      ["TRUSS_ENCRYPTION_KEY", Buffer.alloc(33).toString("base64")],
      ["TRUSS_ENCRYPTION_KEY", "0".repeat(64)],
      ["TRUSS_ENCRYPTION_KEY", `${generateEncryptionKey()},`],
      ["TRUSS_ENCRYPTION_KEY", `${generateEncryptionKey().slice(0, 20)}*${generateEncryptionKey().slice(20)}`],
      ["KRATOS_PUBLIC_URL", "auth.example.com"],
      ["KRATOS_PUBLIC_URL", "ftp://auth.example.com"],
      ["KRATOS_PUBLIC_URL", "https://user:password@auth.example.com"],
      ["KRATOS_PUBLIC_URL", "https://auth.example.com/?a=b"],
      ["KRATOS_PUBLIC_URL", "https://auth.example.com/#a"],
      ["TRUSS_CONCURRENCY", "0"],
      ["TRUSS_RETENTION", "0"],
      ["TRUSS_RETENTION", "1.5 days"],
      ["TRUSS_RETENTION", "forever"],
      ["TRUSS_MAX_PAYLOAD", "1MB"],
      ["TRUSS_DISABLE_AFTER", "5"],
      ["TRUSS_DISABLE_AFTER", "0 days"],
      ["TRUSS_DISABLE_AFTER", "1.5 days"],
      ["TRUSS_DISABLE_AFTER", "5 weeks"],
      ["TRUSS_DISABLE_AFTER", "never"],
      ["TRUSS_ALERT_URL", "alerts.example.com"],
      ["TRUSS_EGRESS_ALLOW", "10.0.0.0/33"],
      ["TRUSS_EGRESS_ALLOW", "10.0.0.0/8,"],
      ["TRUSS_EGRESS_ALLOW", "10.0.0.0/8 192.168.0.0/16"],
      ["TRUSS_EGRESS_ALLOW", "hooks.internal:8080"],
      ["TRUSS_EGRESS_ALLOW", "http://hooks.internal"],
      ["TRUSS_EGRESS_ALLOW", "127.1"],
      ["TRUSS_EGRESS_ALLOW", "*"],
      ["TRUSS_ALERT_URL", "ftp://alerts.example.com"],
      ["TRUSS_ALERT_URL", "https://user:password@alerts.example.com"],
      ["LOG_LEVEL", "verbose"],
      ["LOG_FORMAT", "xml"],
      ["OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"],
      ["OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:password@collector:4318"],
      ["OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318?token=1"],
      ["OTEL_EXPORTER_OTLP_HEADERS", "authorization"],
      ["OTEL_EXPORTER_OTLP_HEADERS", "a header=1"],
      ["OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%0d%0aHost:%20x"],
      ["OTEL_EXPORTER_OTLP_HEADERS", "authorization=%E0%A4%A"],
      ["OTEL_SERVICE_NAME", " "],
      ["OTEL_RESOURCE_ATTRIBUTES", "=production"],
      ["OTEL_RESOURCE_ATTRIBUTES", "environment"],
      ["TRUSS_TRACE_DELIVERIES", "1"]
    ] as const
  )("refuses %s=%s", ([name, value]) => fault(name, value))

  it.effect("says no secret in a fault", () =>
    Effect.gen(function*() {
      assert.notInclude(yield* fault("DATABASE_URL", "mysql://app:hunter2@db/app"), "hunter2")
      assert.notInclude(yield* fault("TRUSS_API_KEY", "hunter2"), "hunter2")
      assert.notInclude(yield* fault("TRUSS_ENCRYPTION_KEY", "hunter2"), "hunter2")
      assert.notInclude(yield* fault("TRUSS_ALERT_URL", "//alerts.example.com/hunter2"), "hunter2")
      assert.notInclude(yield* fault("OTEL_EXPORTER_OTLP_HEADERS", "authorization: hunter2"), "hunter2")
      assert.notInclude(yield* fault("OTEL_EXPORTER_OTLP_ENDPOINT", "http://app:hunter2@collector"), "hunter2")
    }))

  it.effect("wants OTEL_EXPORTER_OTLP_ENDPOINT beside TRUSS_TRACE_DELIVERIES", () =>
    Effect.gen(function*() {
      const [line] = yield* faults({ TRUSS_TRACE_DELIVERIES: "true" })
      assert.include(line, "TRUSS_TRACE_DELIVERIES must go with OTEL_EXPORTER_OTLP_ENDPOINT")
    }))

  it.effect("wants DATABASE_URL beside DATABASE_LISTEN_URL", () =>
    Effect.gen(function*() {
      const [line] = yield* faults({ DATABASE_LISTEN_URL: "postgres://db/app" })
      assert.include(line, "DATABASE_LISTEN_URL must go with DATABASE_URL")
    }))

  it.effect.each(["7", "7d", "7 d", "7 days", "7 Days", " 7 day "])(
    "reads the retention %s",
    (text) =>
      Effect.gen(function*() {
        assert.strictEqual((yield* read({ TRUSS_RETENTION: text })).retentionDays, 7)
      })
  )

  it.effect.each(
    [
      ["5 days", 5 * 86_400_000],
      ["5d", 5 * 86_400_000],
      ["1 day", 86_400_000],
      ["12 hours", 12 * 3_600_000],
      ["12h", 12 * 3_600_000],
      ["30 Minutes", 30 * 60_000],
      [" 30 m ", 30 * 60_000],
      ["90 seconds", 90_000],
      ["90s", 90_000]
    ] as const
  )("reads %s as the time after which a failing webhook is disabled", ([text, ms]) =>
    Effect.gen(function*() {
      assert.strictEqual((yield* read({ TRUSS_DISABLE_AFTER: text })).disableAfterMs, ms)
    }))

  it.effect("takes an empty variable for unset", () =>
    Effect.gen(function*() {
      const settings = yield* read({ DATABASE_URL: "", PORT: "", TRUSS_API_KEY: "" })
      assert.strictEqual(settings.databaseUrl, undefined)
      assert.strictEqual(settings.port, 8787)
      assert.isFalse(settings.portGiven)
      assert.strictEqual(settings.apiKey, undefined)
    }))

  it.effect("requires keys by default where others can reach it", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* read({ HOST: "0.0.0.0" })).auth, "required")
      assert.strictEqual((yield* read({ HOST: "truss.example" })).auth, "required")
      assert.strictEqual((yield* read({ HOST: "127.0.0.2" })).auth, "open")
      assert.strictEqual((yield* read({ HOST: "localhost" })).auth, "open")
      assert.isTrue(isLoopback("::1"))
      assert.isFalse(isLoopback("127.0.0.1.example"))
    }))

  it.effect("lets deliveries reach private networks by default only where nobody else can ask for it", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* read({ HOST: "::1" })).egressAllow, loopbackAndPrivate)
      assert.deepStrictEqual((yield* read({ HOST: "0.0.0.0" })).egressAllow, [])
      assert.deepStrictEqual((yield* read({ TRUSS_EGRESS_ALLOW: "none" })).egressAllow, [])
      const { egressAllow } = yield* read({ HOST: "0.0.0.0", TRUSS_EGRESS_ALLOW: "10.0.0.0/8" })
      assert.deepStrictEqual(egressAllow, parseEgressAllow("10.0.0.0/8"))
    }))

  it.effect("tells which TRUSS_ variables mean nothing to it", () =>
    Effect.gen(function*() {
      const { unknown } = yield* read({ TRUSS_CONCURENCY: "1", TRUSS_AUTH: "open", TRUSS_AUTH_MODE: "x", TRUSS_: "y" })
      assert.deepStrictEqual(unknown, ["TRUSS_", "TRUSS_AUTH_MODE", "TRUSS_CONCURENCY"])
    }))
})
