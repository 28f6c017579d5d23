import { assert, it } from "@effect/vitest"
import { Effect, Layer, Metric } from "effect"
import { readFile } from "node:fs/promises"
import { type Family, parseExposition } from "../support/Exposition.ts"
import { Receiver } from "../support/Receiver.ts"
import { run, RunningService, until } from "../support/RunningService.ts"
import { watched } from "../support/Watched.ts"

const file = (name: string) =>
  Effect.promise(() => readFile(new URL(`../../docs/operations/${name}`, import.meta.url), "utf8"))

/** Every expression of the dashboard, wherever it stands, the queries of its variables included. */
const expressionsOf = (value: unknown): ReadonlyArray<string> => {
  if (Array.isArray(value)) return value.flatMap(expressionsOf)
  if (typeof value !== "object" || value === null) return []
  return Object.entries(value).flatMap(([key, member]) =>
    (key === "expr" || key === "query") && typeof member === "string" ? [member] : expressionsOf(member)
  )
}

const uses = /\b((?:truss|process)_[a-z_]+)(?:\{([^}]*)\})?/g
const matcher = /(\w+)\s*(=~|!=|!~|=)\s*"([^"]*)"/g

/** What Prometheus adds to whatever it scrapes. */
const added = new Set(["job", "instance"])

/** What an expression asks for that no scrape has: metrics, labels, values. */
const missing = (expression: string, samples: ReadonlyArray<Family["samples"][number]>): ReadonlyArray<string> =>
  [...expression.matchAll(uses)].flatMap(([, name, matchers = ""]) => {
    const series = samples.filter((sample) => sample.name === name)
    if (series.length === 0) return [name!]
    return [...matchers.matchAll(matcher)].flatMap(([, label, operator, value]) => {
      if (added.has(label!)) return []
      const values = operator!.endsWith("~") ? value!.split("|") : [value!]
      return values.filter((one) => !series.some(({ labels }) => labels[label!] === one))
        .map((one) => `${name}{${label}="${one}"}`)
    })
  })

const ownRegistry = Layer.sync(Metric.MetricRegistry, () => new Map())
const layer = Layer.merge(RunningService.layer(), Receiver.layer).pipe(Layer.provide(ownRegistry))

it.layer(layer, { excludeTestServices: true })("what a scrape has after some deliveries", (it) => {
  const scrape = Effect.gen(function*() {
    const { baseUrl } = yield* RunningService
    const text = yield* Effect.promise(async () => (await fetch(`${baseUrl}/metrics`)).text())
    return parseExposition(text)
  })

  it.effect("is all that the dashboard and the alert rules ask for", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const webhook = yield* watched("monitored")
      yield* run("INSERT INTO monitored SELECT n, 'x' FROM generate_series(1, 5) n")
      yield* service.log(webhook.id, 5)
      const families = yield* until("the gauges", scrape, (families) => families.has("truss_backlog_events"))
      const samples = [...families.values()].flatMap((family) => family.samples)
      const dashboard = expressionsOf(JSON.parse(yield* file("grafana.json")))
      const rules = [...(yield* file("alerts.yaml")).matchAll(/^ +expr: (.+)$/gm)].map(([, expression]) => expression!)
      assert.isAbove(dashboard.length, 20)
      assert.isAbove(rules.length, 10)
      assert.deepStrictEqual([...dashboard, ...rules].flatMap((expression) => missing(expression, samples)), [])
      // The check can fail.
      assert.deepStrictEqual(
        missing("rate(truss_deliveries_total{outcome=\"lost\"}[5m]) + truss_nothing", samples),
        ["truss_deliveries_total{outcome=\"lost\"}", "truss_nothing"]
      )
    }))

  it.effect("is in the documentation, all of it and nothing else", () =>
    Effect.gen(function*() {
      const families = yield* scrape
      const documented = [
        ...(yield* file("monitoring.md")).matchAll(/`((?:truss|process)_[a-z_]+)(?:\{([a-z,]+)\})?`/g)
      ]
      assert.sameMembers([...new Set(documented.map(([, name]) => name!))], [...families.keys()])
      for (const [, name, labels] of documented) {
        if (labels === undefined) continue
        const found = families.get(name!)!.samples.flatMap((sample) => Object.keys(sample.labels))
        assert.sameMembers([...new Set(found)], labels.split(","))
      }
    }))
})
