import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Exit, Layer, Queue, Redacted, Scope } from "effect"
import { inFlight } from "../RowBurst.ts"
import { type Contender, type Deliver, eventOf, insertTrigger } from "./Contender.ts"

const channel = "order_inserted"

const lanes = (deliver: Deliver) => {
  const waiting: Array<string> = []
  let next = 0
  let running = 0
  const lane = async () => {
    while (next < waiting.length) await deliver(waiting[next++]!)
    running--
    waiting.length = 0
    next = 0
  }
  return (payloads: ReadonlyArray<string>) => {
    for (const payload of payloads) waiting.push(payload)
    while (running < inFlight && running < waiting.length - next) {
      running++
      void lane()
    }
  }
}

const start: Contender["start"] = async (databaseUrl, deliver) => {
  const add = lanes(deliver)
  const scope = Scope.makeUnsafe()
  const listen = Effect.gen(function*() {
    const context = yield* Layer.build(PgClient.layer({ url: Redacted.make(databaseUrl), maxConnections: 1 }))
    const notifications = yield* Context.get(context, PgClient.PgClient).listen(channel)
    yield* Queue.takeAll(notifications).pipe(
      Effect.map((taken) => add(taken.map(({ payload }) => payload))),
      Effect.forever,
      Effect.forkScoped
    )
  })
  await Effect.runPromise(Scope.provide(listen, scope))
  return { close: () => Effect.runPromise(Scope.close(scope, Exit.void)) }
}

/** Nothing stored: what no listener hears, and what is in flight when the process ends, is lost. */
export const Notify: Contender = {
  name: "LISTEN, nothing stored",
  durable: false,
  start,
  trigger: insertTrigger("ROW", `PERFORM pg_notify('${channel}', ${eventOf("NEW")}::text);`)
}
