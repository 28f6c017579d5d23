import { Effect } from "effect"
import { type ChildProcess, spawn, type SpawnOptions } from "node:child_process"
import { once } from "node:events"
import { BenchError } from "./BenchError.ts"

const hasEnded = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null

/** Resolves when the process is gone: SIGTERM first, SIGKILL if that takes more than 15 s. */
export const stopChild = (child: ChildProcess) =>
  Effect.promise(async () => {
    if (child.pid === undefined || hasEnded(child)) return
    const gone = once(child, "exit")
    child.kill("SIGTERM")
    const timer = setTimeout(() => child.kill("SIGKILL"), 15_000)
    await gone
    clearTimeout(timer)
  })

/** A process that ends with the scope. */
export const spawnChild = (file: string, args: ReadonlyArray<string>, options: SpawnOptions) =>
  Effect.acquireRelease(
    Effect.callback<ChildProcess, BenchError>((resume) => {
      const child = spawn(file, args, options)
      child.once("spawn", () => resume(Effect.succeed(child)))
      child.once("error", (error) => resume(Effect.fail(new BenchError({ message: `${file}: ${error.message}` }))))
    }),
    stopChild
  )

/** Runs a program to its end; all that it wrote. */
export const runProgram = (file: string, args: ReadonlyArray<string>) =>
  Effect.scoped(Effect.gen(function*() {
    const child = yield* spawnChild(file, args, { stdio: ["ignore", "pipe", "pipe"] })
    return yield* Effect.callback<string, BenchError>((resume) => {
      let output = ""
      child.stdout?.on("data", (chunk) => (output += String(chunk)))
      child.stderr?.on("data", (chunk) => (output += String(chunk)))
      child.once("close", (code) =>
        resume(
          code === 0
            ? Effect.succeed(output)
            : Effect.fail(new BenchError({ message: `${file} ended with ${code}: ${output.trim()}` }))
        ))
    })
  }))

/** The next message of a child that `select` takes. */
export const message = <A>(child: ChildProcess, select: (message: unknown) => A | undefined) =>
  Effect.callback<A, BenchError>((resume) => {
    const clear = () => {
      child.off("message", onMessage)
      child.off("exit", onExit)
    }
    const onMessage = (value: unknown) => {
      const selected = select(value)
      if (selected === undefined) return
      clear()
      resume(Effect.succeed(selected))
    }
    const onExit = (code: number | null) => {
      clear()
      resume(Effect.fail(new BenchError({ message: `a process of the benchmark ended with ${code}` })))
    }
    child.on("message", onMessage)
    child.once("exit", onExit)
    if (hasEnded(child)) onExit(child.exitCode)
    return Effect.sync(clear)
  })
