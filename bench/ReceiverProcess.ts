import { Effect } from "effect"
import { fileURLToPath } from "node:url"
import { message, spawnChild } from "./Child.ts"
import type { FromReceiver, ToReceiver } from "./Messages.ts"

const program = fileURLToPath(new URL("receiver.ts", import.meta.url))

const ofKind = <K extends FromReceiver["kind"]>(kind: K) => (value: unknown) => {
  const received = value as FromReceiver
  return received.kind === kind ? received as Extract<FromReceiver, { kind: K }> : undefined
}

/** The endpoint, for as long as the scope. */
export const openReceiver = Effect.gen(function*() {
  const child = yield* spawnChild(process.execPath, [program], {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
    serialization: "advanced"
  })
  const { port } = yield* message(child, ofKind("listening"))
  const ask = <K extends FromReceiver["kind"]>(request: ToReceiver, kind: K) =>
    Effect.raceFirst(
      Effect.andThen(Effect.sync(() => child.send(request)), Effect.never),
      message(child, ofKind(kind))
    )
  return {
    url: `http://127.0.0.1:${port}/orders`,
    pid: child.pid ?? 0,
    reset: (options: { readonly expect?: number; readonly arrivals?: boolean }) =>
      ask({ kind: "reset", expect: options.expect ?? 0, arrivals: options.arrivals ?? false }, "ready"),
    /** When the expected number had come, by the shared clock; ask for it before the first can come. */
    reached: Effect.map(message(child, ofKind("reached")), ({ at }) => at),
    report: ask({ kind: "report" }, "report")
  }
})

export type Receiver = Effect.Success<typeof openReceiver>
