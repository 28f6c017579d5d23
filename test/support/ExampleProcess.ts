import { Effect } from "effect"
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { Ended } from "./ServiceProcess.ts"

const folder = fileURLToPath(new URL("../../examples/", import.meta.url))

/** Starts an example in the folder of examples, with nothing of our environment but what it needs; killed with the scope. */
export const startExample = (command: ReadonlyArray<string>, env: Readonly<Record<string, string>>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const { HOME, PATH } = process.env
      const child = spawn(command[0]!, command.slice(1), {
        cwd: folder,
        env: { HOME, PATH, ...env },
        stdio: ["ignore", "pipe", "pipe"]
      })
      const chunks: Array<string> = []
      for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => chunks.push(String(chunk)))
      const closed = new Promise<Ended>((resolve) => child.once("close", (code, signal) => resolve({ code, signal })))
      const ended = Effect.promise(() => closed)
      const signal = (name: NodeJS.Signals) => Effect.andThen(Effect.sync(() => child.kill(name)), ended)
      return {
        hasEnded: () => child.exitCode !== null || child.signalCode !== null,
        ended,
        output: () => chunks.join(""),
        stop: signal("SIGTERM"),
        kill: signal("SIGKILL")
      }
    }),
    ({ kill }) => kill
  )
