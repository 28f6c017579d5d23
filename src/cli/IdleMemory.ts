import { Effect, Schedule, type Scope } from "effect"
import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

const lookEvery = "10 seconds"

/** A process that uses less of a core is idle. */
const idleShare = 0.05

/** Memory that is worth a pause of a tenth of a second while nothing happens. */
const worthwhileBytes = 16 * 1_048_576

type Collect = (options: { readonly type: "major"; readonly flavor: "last-resort" }) => void

/** V8's collector, which a flag alone gives away. */
const collector = (): Collect => {
  setFlagsFromString("--expose-gc")
  const collect: Collect = runInNewContext("gc")
  setFlagsFromString("--no-expose-gc")
  return collect
}

const youngBytes = () =>
  getHeapSpaceStatistics().reduce(
    (bytes, { physical_space_size, space_name }) => space_name.startsWith("new") ? bytes + physical_space_size : bytes,
    0
  )

/**
 * Gives back what starting, or a burst, has left behind, while the process is idle. V8 keeps its young generation as large
 * as it has grown, three times 16 MB and more, and shrinks it only for its last resort; it grows again when it is needed.
 */
export const giveIdleMemoryBack: Effect.Effect<void, never, Scope.Scope> = Effect.suspend(() => {
  if (process.versions["bun"] !== undefined) return Effect.void
  const collect = collector()
  let before = { at: performance.now(), cpu: process.cpuUsage() }
  const look = Effect.sync(() => {
    const now = { at: performance.now(), cpu: process.cpuUsage() }
    const usedMs = (now.cpu.user + now.cpu.system - before.cpu.user - before.cpu.system) / 1000
    const isIdle = usedMs < idleShare * (now.at - before.at)
    before = now
    if (isIdle && youngBytes() > worthwhileBytes) collect({ type: "major", flavor: "last-resort" })
  })
  return look.pipe(Effect.repeat(Schedule.spaced(lookEvery)), Effect.forkScoped, Effect.asVoid)
})
