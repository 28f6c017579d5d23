/** The processes that a schedule torments: PostgreSQL, the ways to it, the service; and what was done to them. */
import { Effect, Option, Scope, Semaphore } from "effect"
import type { Ordering } from "../../src/domain/Webhook.ts"
import type { OwnPostgres } from "../support/OwnPostgres.ts"
import { freePort, type ServiceProcess, startService } from "../support/ServiceProcess.ts"
import type { Finding, Window } from "./History.ts"
import { type Proxy, startProxy } from "./Proxy.ts"
import type { FaultKind, PlannedFault, Schedule } from "./Schedule.ts"
import { connect } from "./Writers.ts"

/** A process of the service with a way of its own to PostgreSQL. */
interface Slot {
  readonly proxy: Proxy
  /** Of a runner: the way of the others to it, and where that leads. */
  readonly peers: { readonly proxy: Proxy; readonly port: number } | undefined
  readonly lock: Semaphore.Semaphore
  readonly launched: Array<ServiceProcess>
  /** Those whose end is no surprise. */
  readonly ending: Set<number>
}

/** How long it took until everything that a runner had ran elsewhere, with no other fault meanwhile. */
export interface TakeOver {
  readonly how: FaultKind
  readonly ms: number
}

/** A webhook that can be split otherwise. */
interface Splittable {
  readonly id: string
  readonly ordering: Ordering
}

export interface Stage {
  readonly takeOvers: ReadonlyArray<TakeOver>
  readonly windows: ReadonlyArray<Window>
  readonly findings: ReadonlyArray<Finding>
  /** Everything that the processes wrote. */
  readonly output: () => string
  readonly service: (process: number) => ServiceProcess
  readonly start: Effect.Effect<void>
  /** Does it, and heals it after its time. */
  readonly suffer: (fault: PlannedFault, webhooks: ReadonlyArray<Splittable>) => Effect.Effect<void>
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
  const processes = schedule.runners > 0 ? schedule.runners : schedule.standby ? 2 : 1
  for (let n = 0; n < processes; n++) {
    const proxy = yield* startProxy({ host: hostname, port: Number(port) })
    const own = yield* freePort
    const peers = schedule.runners === 0
      ? undefined
      : { port: own, proxy: yield* startProxy({ host: "127.0.0.1", port: own }) }
    slots.push({ proxy, peers, lock: yield* Semaphore.make(1), launched: [], ending: new Set() })
  }

  const watcher = schedule.runners === 0 ? undefined : yield* connect(databaseUrl, 2)
  const takeOvers: Array<TakeOver> = []
  let deeds = 0
  let underWay = 0

  const asRunner = ({ peers }: Slot): Readonly<Record<string, string>> =>
    peers === undefined ? {} : {
      TRUSS_CLUSTER: `127.0.0.1:${peers.proxy.port}`,
      TRUSS_CLUSTER_LISTEN: `127.0.0.1:${peers.port}`,
      TRUSS_CLUSTER_TOKEN: "a-token-that-the-runners-share...."
    }

  /** Begins to wait until others have all that the slot's runner has; nothing is learnt when anything else happens. */
  const clock = Effect.fnUntraced(function*({ peers }: Slot, how: FaultKind) {
    if (watcher === undefined || peers === undefined || underWay > 1) return
    const [runner] = yield* watcher<{ id: string }>`SELECT id::text AS id FROM truss.cluster_runners
      WHERE address = ${`127.0.0.1:${peers.proxy.port}`} ORDER BY joined_at DESC LIMIT 1`
    if (runner === undefined) return
    const count = Effect.map(
      watcher<{ left: number }>`SELECT count(*)::int AS left FROM (
        SELECT webhook_id, runner FROM truss.cursors UNION ALL SELECT webhook_id, runner FROM truss.cursor_parts
      ) c JOIN truss.webhooks w ON w.id = c.webhook_id WHERE w.active AND c.runner = ${runner.id}::text::uuid`,
      ([row]) => row!.left
    )
    if ((yield* count) === 0) return
    const mine = deeds
    const from = Date.now()
    yield* Effect.repeat(Effect.delay(count, "20 millis"), { until: (left) => left === 0 || deeds !== mine }).pipe(
      Effect.tap((left) =>
        Effect.sync(() => {
          if (left === 0 && deeds === mine) takeOvers.push({ how, ms: Date.now() - from })
        })
      ),
      Effect.timeout("30 seconds"),
      Effect.ignore,
      Effect.forkIn(scope)
    )
  }, (effect) => Effect.ignore(effect))

  const start = (slot: Slot) =>
    Effect.gen(function*() {
      const url = new URL(databaseUrl)
      url.port = String(slot.proxy.port)
      const service = yield* startService(url.href, { ...env, ...asRunner(slot) })
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

  /** Each is stopped and started again, one after the other; the next one when this one has begun. */
  const roll = Effect.forEach(slots, (slot) =>
    slot.lock.withPermit(Effect.gen(function*() {
      yield* stop(slot)
      yield* start(slot)
      // Something else may befall it meanwhile.
      yield* Effect.exit(Effect.timeoutOption(current(slot).ready(), "5 seconds"))
    })), { discard: true })

  /** By whichever process answers. */
  const resplit = (fault: PlannedFault, webhooks: ReadonlyArray<Splittable>) =>
    Effect.forEach(
      webhooks.filter(({ ordering }) => ordering !== "strict").slice(0, 8),
      ({ id }, at) =>
        current(slots[at % slots.length]!).ask("PATCH", `/api/webhooks/${id}`, {
          partitions: 1 + (fault.at + at) % 8
        }),
      { discard: true }
    )

  const deed = (fault: PlannedFault, webhooks: ReadonlyArray<Splittable>): Effect.Effect<void> => {
    const slot = slots[fault.process]!
    const { proxy } = slot
    switch (fault.kind) {
      case "service kill -9":
        return Effect.andThen(
          clock(slot, fault.kind),
          healAfter(fault, window(fault.kind, kill(slot)), start(slot))
        )
      case "service stop":
        return Effect.andThen(clock(slot, fault.kind), healAfter(fault, stop(slot), start(slot)))
      case "service freeze": {
        const freeze = healAfter(fault, current(slot).signal("SIGSTOP"), current(slot).signal("SIGCONT"))
        // Alone it loses nothing: its connections live. Beside another one it may lose its place meanwhile.
        return slots.length > 1 ? window(fault.kind, freeze) : freeze
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
      case "runner cut off from the others":
        return slot.peers === undefined
          ? Effect.void
          : healAfter(fault, slot.peers.proxy.freeze, slot.peers.proxy.thaw)
      case "all runners rolled":
        return roll
      case "webhooks split otherwise":
        return resplit(fault, webhooks)
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
    takeOvers,
    suffer: (fault, webhooks) => {
      const deeding = Effect.suspend(() => {
        deeds++
        underWay++
        return Effect.ensuring(deed(fault, webhooks), Effect.sync(() => void underWay--))
      })
      if (fault.kind === "all runners rolled" || fault.kind === "webhooks split otherwise") return deeding
      return (fault.kind.startsWith("postgres") ? database : slots[fault.process]!.lock).withPermit(deeding)
    },
    heal: Effect.forEach(
      slots,
      ({ peers, proxy }) =>
        Effect.all([proxy.thaw, proxy.clear, ...peers === undefined ? [] : [peers.proxy.thaw]], { discard: true }),
      {
        discard: true
      }
    ),
    end: (how) =>
      Effect.suspend(() => {
        deeds++
        return Effect.forEach(slots, (slot) => how === "stop" ? stop(slot) : window("service kill -9", kill(slot)), {
          discard: true,
          concurrency: "unbounded"
        })
      })
  }
})
