import { Effect } from "effect"
import { fileURLToPath } from "node:url"
import { BenchError } from "./BenchError.ts"
import { message, spawnChild } from "./Child.ts"
import type { FromCeiling, ToCeiling } from "./Messages.ts"

const program = fileURLToPath(new URL("ceiling.ts", import.meta.url))

/** A process that only sends, for as long as the scope. `send` gives requests a second. */
export const openCeiling = Effect.gen(function*() {
  const child = yield* spawnChild(process.execPath, [program], {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
    serialization: "advanced"
  })
  const send = Effect.fnUntraced(function*(order: ToCeiling) {
    const answer = yield* Effect.raceFirst(
      Effect.andThen(Effect.sync(() => child.send(order)), Effect.never),
      message(child, (value) => value as FromCeiling)
    )
    if ("error" in answer) return yield* new BenchError({ message: `${order.client}: ${answer.error}` })
    return order.requests / (answer.elapsedMs / 1000)
  })
  return { pid: child.pid ?? 0, send }
})
