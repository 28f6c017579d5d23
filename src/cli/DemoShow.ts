import { PgClient } from "@effect/sql-pg"
import { Effect, Queue, Semaphore } from "effect"
import type { Arrival, Receiver } from "./DemoReceiver.ts"
import type { Screen } from "./DemoScreen.ts"
import { CommandFailed } from "./Failure.ts"

/** What to say of a failed delivery, and of the one that follows it. */
type Note = readonly [failed: string, retried: string]

/** Changes orders and shows what arrives. */
export const makeShow = Effect.fnUntraced(function*(
  screen: Screen,
  receiver: Receiver
) {
  const sql = yield* PgClient.PgClient
  const turn = yield* Semaphore.make(1)
  const shown = yield* Queue.sliding<Arrival>(64)
  const commits = new Map<string, { readonly at: number; readonly note: Note | undefined }>()
  const keyOf = (event: string, id: number) => `${event} ${id}`

  const print = Effect.fnUntraced(function*(arrival: Arrival, withBody: boolean) {
    const { body } = arrival
    const key = body === undefined ? "" : keyOf(body.event, (body.row ?? body.old_row)?.id ?? 0)
    const own = commits.get(key)
    if (own === undefined) yield* screen.foreign(arrival)
    yield* screen.delivery(arrival, own && arrival.at - own.at, own?.note?.[arrival.statusCode < 300 ? 1 : 0])
    if (withBody) yield* screen.body(arrival.text)
    if (arrival.statusCode < 300) commits.delete(key)
  })

  const bodies = { left: 3 }
  yield* Queue.takeBetween(receiver.arrivals, 1, 10_000).pipe(
    Effect.flatMap((arrivals) =>
      turn.withPermit(Effect.gen(function*() {
        for (const arrival of arrivals.slice(0, 10)) {
          yield* print(arrival, bodies.left-- > 0)
          yield* Queue.offer(shown, arrival)
        }
        const more = arrivals.slice(10)
        if (more.length === 0) return
        const wrong = more.filter(({ verified }) => !verified).length
        yield* screen.text(`          and ${more.length} more${wrong === 0 ? ", all verified" : `, ${wrong} WRONG`}`)
      }))
    ),
    Effect.forever,
    Effect.forkScoped
  )

  /** Runs one statement, and says so once it is committed. */
  const change = (event: string, id: number, text: string, statement: Effect.Effect<unknown, unknown>, note?: Note) =>
    turn.withPermit(Effect.gen(function*() {
      yield* Effect.orDie(statement)
      commits.set(keyOf(event, id), { at: performance.now(), note })
      yield* screen.change(event, text)
    }))

  /** The next verified delivery of that change that was answered with 2xx. */
  const delivered = (event: string, id: number) =>
    Queue.take(shown).pipe(
      Effect.tap((arrival) =>
        arrival.verified
          ? Effect.void
          : new CommandFailed({ lines: [`the signature of a delivery was wrong: ${arrival.text}`] })
      ),
      Effect.repeat({
        until: ({ body, statusCode }) =>
          body?.event === event && (body.row ?? body.old_row)?.id === id && statusCode < 300
      })
    )

  return { sql, change, delivered }
})

export type Show = Effect.Success<ReturnType<typeof makeShow>>
