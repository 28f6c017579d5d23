import { Effect } from "effect"
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"

const prelude = fileURLToPath(new URL("DocShell.sh", import.meta.url))

/**
 * A shell as the reader of a page has it: what one snippet sets is there for the next. A snippet fails when one of its
 * commands does. Ends with the scope.
 */
export const docShell = (env: Readonly<Record<string, string>>, cwd: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const { HOME, PATH } = process.env
      const child = spawn("bash", ["--noprofile", "--norc"], { cwd, env: { HOME, PATH, ...env }, detached: true })
      let output = ""
      for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => output += text)
      const closed = new Promise<void>((resolve) => child.once("close", () => resolve()))
      child.stdin.on("error", () => {})
      child.stdin.write(`source "${prelude}"\n`)
      let count = 0

      /** What it printed. */
      const run = (text: string) =>
        Effect.callback<string>((resume) => {
          const mark = `@@ended ${++count}@@`
          const from = output.length
          const said = () => output.slice(from).split("\n").filter((line) => !line.startsWith("@@ended")).join("\n")
          const look = () => {
            if (output.includes(mark, from)) return done(Effect.succeed(said()))
            if (child.exitCode !== null || child.signalCode !== null) {
              return done(Effect.die(new Error(`it failed:\n${text}\n\nIt said:\n${said()}`)))
            }
          }
          const done = (result: Effect.Effect<string>) => {
            for (const stream of [child.stdout, child.stderr]) stream.off("data", look)
            child.off("close", look)
            resume(result)
          }
          for (const stream of [child.stdout, child.stderr]) stream.on("data", look)
          child.on("close", look)
          // Nothing but the shell itself may read what comes next.
          child.stdin.write(`{\n${text}\n} </dev/null\nprintf '\\n%s\\n' '${mark}'\n`)
          look()
        })

      const end = Effect.promise(async () => {
        child.stdin.end()
        try {
          process.kill(-child.pid!, "SIGKILL")
        } catch {
          // It has ended, and all that it started with it.
        }
        await closed
      })
      return { run, end }
    }),
    ({ end }) => end
  ).pipe(Effect.map(({ run }) => run))
