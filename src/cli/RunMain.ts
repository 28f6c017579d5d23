import { Cause, Effect, Exit, Runtime } from "effect"
import { constants } from "node:os"

/** Marks a command that runs until it is stopped: ending it with a signal is success, unless it said otherwise. */
export const untilStopped = Effect.onInterrupt(() =>
  Effect.sync(() => {
    process.exitCode ??= 0
  })
)

/** Ends a command that only prints, and well, when nobody reads any more what it prints, such as `head` after its lines. */
export const whileRead = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A | void, E, R> =>
  Effect.raceFirst(
    self,
    Effect.callback<void>((resume) => {
      const onError = () => resume(Effect.void)
      process.stdout.on("error", onError)
      return Effect.sync(() => process.stdout.off("error", onError))
    })
  )

const exitCode = (exit: Exit.Exit<unknown, unknown>): number => {
  if (Exit.isSuccess(exit)) return Number(process.exitCode ?? 0)
  if (Cause.hasInterruptsOnly(exit.cause)) return Number(process.exitCode ?? 128 + constants.signals.SIGINT)
  return Runtime.getErrorExitCode(Cause.squash(exit.cause))
}

// npm passes on the signal that a terminal or a service manager already sent to the whole group.
const echoMs = 100

/**
 * Runs the program as the process. The first SIGINT or SIGTERM interrupts it, so that everything is released; another
 * one ends the process at once.
 */
export const runMain = Runtime.makeRunMain(({ fiber }) => {
  let stoppedAt: number | undefined
  const onSignal = (signal: "SIGINT" | "SIGTERM") => {
    if (stoppedAt === undefined) {
      stoppedAt = performance.now()
      fiber.interruptUnsafe(fiber.id)
    } else if (performance.now() - stoppedAt > echoMs) {
      process.exit(128 + constants.signals[signal])
    }
  }
  process.on("SIGINT", onSignal)
  process.on("SIGTERM", onSignal)
  // A reader that is gone, such as `head`, is no reason to fail.
  process.stdout.on("error", () => {})
  process.stderr.on("error", () => {})
  fiber.addObserver((exit) => {
    const code = exitCode(exit)
    process.stdout.write("", () => process.stderr.write("", () => process.exit(code)))
  })
})
