import { Effect } from "effect"
import { Receiver } from "./Receiver.ts"
import { run, RunningService } from "./RunningService.ts"

/** Creates a table with an `id` and a `note`, and a webhook of the receiver's path of the same name. */
export const watched = Effect.fnUntraced(function*(table: string, more?: Readonly<Record<string, unknown>>) {
  const service = yield* RunningService
  const receiver = yield* Receiver
  yield* run(`CREATE TABLE ${table} (id int PRIMARY KEY, note text)`)
  return yield* service.create({ table_name: table, url: receiver.url(`/${table}`), ...more })
})
