import { Effect } from "effect"
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { Ended } from "./ServiceProcess.ts"

const folder = fileURLToPath(new URL("../../examples/", import.meta.url))

/**
 * Starts an example in the folder of examples, or another program in its folder, with nothing of our environment but
 * what it needs; killed with the scope.
 */
export const startExample = (
  command: ReadonlyArray<string>,
  env: Readonly<Record<string, string>>,
  cwd: string = folder
) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const { HOME, PATH } = process.env
      // The package by its own name is the source, as it is in the tests.
      const source = command[0] === process.execPath && cwd === folder ? ["--conditions=truss-source"] : []
      const child = spawn(command[0]!, [...source, ...command.slice(1)], {
        cwd,
        env: { HOME, PATH, ...env },
        stdio: ["ignore", "pipe", "pipe"]
      })
      const chunks: Array<string> = []
      for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => chunks.push(String(chunk)))
      const closed = new Promise<Ended>((resolve) => {
        child.once("close", (code, signal) => resolve({ code, signal }))
        // What cannot be started says so, and does not end.
        child.once("error", ({ message }) => {
          chunks.push(message)
          resolve({ code: null, signal: null })
        })
      })
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
