import { Effect } from "effect"
import { fileURLToPath } from "node:url"
import { message, spawnChild } from "../Child.ts"
import type { Stage } from "../Stage.ts"
import type { Contender } from "./Contender.ts"

const program = fileURLToPath(new URL("../contender.ts", import.meta.url))

/** A contender that delivers the inserts of the stage's `orders`, as long as the scope; and whether it is done. */
export const startContender = Effect.fnUntraced(function*(stage: Stage, { left, name, trigger }: Contender) {
  const { receiver, sql, url } = stage
  const child = yield* spawnChild(process.execPath, [program, name, url, receiver.url], {
    stdio: ["ignore", 2, 2, "ipc"]
  })
  yield* message(child, (said) => said === "ready" ? true : undefined)
  for (const statement of trigger) yield* sql.unsafe(statement)
  const settled = left === undefined
    ? Effect.succeed(true)
    : Effect.map(sql.unsafe<{ left: boolean }>(left), (rows) => rows[0]?.left === false)
  return { pid: child.pid ?? 0, settled }
})
