/** The processes that a schedule torments: PostgreSQL, the ways to it, the service; and what was done to them. */
import { Effect, Option, Scope, Semaphore } from "effect"
import type { OwnPostgres } from "../support/OwnPostgres.ts"
import { type ServiceProcess, startService } from "../support/ServiceProcess.ts"
import type { Finding, Window } from "./History.ts"
import { type Proxy, startProxy } from "./Proxy.ts"
import type { PlannedFault, Schedule } from "./Schedule.ts"

/** A process of the service with a way of its own to PostgreSQL. */
interface Slot {
  readonly proxy: Proxy
  readonly lock: Semaphore.Semaphore
  readonly launched: Array<ServiceProcess>
  /** Those whose end is no surprise. */
  readonly ending: Set<number>
}

export interface Stage {
  readonly windows: ReadonlyArray<Window>
  readonly findings: ReadonlyArray<Finding>
  /** Everything that the processes wrote. */
  readonly output: () => string
  readonly service: (process: number) => ServiceProcess
  readonly start: Effect.Effect<void>
  /** Does it, and heals it after its time. */
  readonly suffer: (fault: PlannedFault) => Effect.Effect<void>
  /** Nothing is cut or frozen any more. */
  readonly heal: Effect.Effect<void>
  /** Ends every process of the service. */
  readonly end: (how: "stop" | "kill") => Effect.Effect<void>
}

/** Every process must be able to read what another one has encrypted. */
const env = { TRUSS_ENCRYPTION_KEY: Buffer.alloc(32, 7).toString("base64") }

export const makeStage = Effect.fnUntraced(function*(
  postgres: OwnPostgres,
  databaseUrl: string,
  schedule: Schedule
): Effect.fn.Return<Stage, never, Scope.Scope> {
  const scope = yield* Effect.scope
  const windows: Array<Window> = []
  const findings: Array<Finding> = []
  const database = yield* Semaphore.make(1)
  const { hostname, port } = new URL(databaseUrl)

  const slots: Array<Slot> = []
  for (let n = 0; n < (schedule.standby ? 2 : 1); n++) {
    const proxy = yield* startProxy({ host: hostname, port: Number(port) })
    slots.push({ proxy, lock: yield* Semaphore.make(1), launched: [], ending: new Set() })
  }

  const start = (slot: Slot) =>
    Effect.gen(function*() {
      const url = new URL(databaseUrl)
      url.port = String(slot.proxy.port)
      const service = yield* startService(url.href, env)
      slot.launched.push(service)
      yield* service.ended.pipe(
        Effect.tap(({ code, signal }) =>
          Effect.sync(() => {
            if (slot.ending.has(service.pid)) return
            const end = service.output().split("\n").slice(-10).join("\n")
            findings.push({ kind: "process", webhook: "all", detail: `ended by itself: ${code} ${signal}\n${end}` })
          })
        ),
        Effect.forkIn(scope)
      )
    }).pipe(Scope.provide(scope))

  const current = (slot: Slot) => slot.launched.at(-1)!

  const expectEnd = (slot: Slot) => Effect.sync(() => void slot.ending.add(current(slot).pid))

  const kill = (slot: Slot) => Effect.andThen(expectEnd(slot), current(slot).kill)

  const stop = Effect.fnUntraced(function*(slot: Slot) {
    yield* expectEnd(slot)
    // 10 s for what is in flight and 5 s to write it, by the contract and the drain; then it does not end by itself.
    const ended = yield* Effect.timeoutOption(current(slot).stop, "20 seconds")
    const code = Option.isSome(ended) ? ended.value.code : undefined
    // A process that had not yet begun to listen for the signal dies of it.
    if (Option.isSome(ended) && (code === 0 || ended.value.signal === "SIGTERM")) return
    const how = Option.isNone(ended) ? "did not end within 20 s" : `ended with code ${code}`
    const end = current(slot).output().split("\n").slice(-10).join("\n")
    findings.push({ kind: "process", webhook: "all", detail: `after SIGTERM it ${how}\n${end}` })
    yield* current(slot).kill
  })

  /** Marks the time in which the outcome of an attempt may be lost. */
  const window = <A>(what: string, during: Effect.Effect<A>) =>
    Effect.suspend(() => {
      const from = Date.now()
      return Effect.ensuring(during, Effect.sync(() => void windows.push({ what, from, to: Date.now() })))
    })

  const healAfter = (fault: PlannedFault, does: Effect.Effect<unknown>, heals: Effect.Effect<unknown>) =>
    does.pipe(Effect.andThen(Effect.sleep(fault.forMs)), Effect.andThen(heals), Effect.asVoid)

  const deed = (fault: PlannedFault): Effect.Effect<void> => {
    const slot = slots[fault.process]!
    const { proxy } = slot
    switch (fault.kind) {
      case "service kill -9":
        return healAfter(fault, window(fault.kind, kill(slot)), start(slot))
      case "service stop":
        return healAfter(fault, stop(slot), start(slot))
      case "service freeze": {
        const freeze = healAfter(fault, current(slot).signal("SIGSTOP"), current(slot).signal("SIGCONT"))
        // Alone it loses nothing: its connections live. Beside another one it may lose its place meanwhile.
        return schedule.standby ? window(fault.kind, freeze) : freeze
      }
      case "postgres fast":
        return window(fault.kind, healAfter(fault, postgres.stop, postgres.start))
      case "postgres immediate":
        return window(fault.kind, healAfter(fault, postgres.abandon, postgres.start))
      case "postgres kill -9":
        return window(fault.kind, healAfter(fault, postgres.crash, postgres.start))
      case "postgres backend kill -9":
        return window(fault.kind, healAfter(fault, postgres.crashSession, Effect.void))
      case "postgres freeze":
        return window(fault.kind, healAfter(fault, postgres.freeze, postgres.thaw))
      case "connections cut":
        return window(fault.kind, proxy.cut)
      case "connections frozen":
        return window(fault.kind, healAfter(fault, proxy.freeze, proxy.thaw))
      case "connections half-open, service's half":
        return window(fault.kind, healAfter(fault, proxy.cutHalf("server"), proxy.clear))
      case "connections half-open, server's half":
        return window(fault.kind, healAfter(fault, proxy.cutHalf("service"), proxy.clear))
    }
  }

  return {
    windows,
    findings,
    output: () =>
      slots.flatMap((slot, n) =>
        slot.launched.map((service, i) => `--- process ${n}, start ${i + 1}, pid ${service.pid}\n${service.output()}`)
      ).join("\n"),
    service: (process) => current(slots[process]!),
    start: Effect.forEach(slots, start, { discard: true }),
    suffer: (fault) => {
      const lock = fault.kind.startsWith("postgres") ? database : slots[fault.process]!.lock
      return lock.withPermit(Effect.suspend(() => deed(fault)))
    },
    heal: Effect.forEach(slots, ({ proxy }) => Effect.andThen(proxy.thaw, proxy.clear), { discard: true }),
    end: (how) =>
      Effect.forEach(slots, (slot) => how === "stop" ? stop(slot) : window("service kill -9", kill(slot)), {
        discard: true,
        concurrency: "unbounded"
      })
  }
})
