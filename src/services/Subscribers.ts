import { Cause, Context, Effect, Exit, type Fiber, Latch, Layer, Option, Schema, type Scope } from "effect"
import { Headers, HttpTraceContext } from "effect/http"
import type { Answer, AttemptError } from "../domain/Attempt.ts"
import { encodeAttemptId } from "../domain/AttemptRef.ts"
import { encodeEventId } from "../domain/EventRef.ts"
import type { Delivery, Done } from "./Sender.ts"

/** This process has a function of that name already. */
export class AlreadySubscribed extends Schema.TaggedError<AlreadySubscribed>()("AlreadySubscribed", {
  name: Schema.String
}) {
  override get message() {
    return `this process has a function for ${JSON.stringify(this.name)} already`
  }
}

/** One attempt, as the function that takes it sees it. */
export interface Attempted {
  /** The event's id: the same on every attempt and replay. What was done already is recognised by it. */
  readonly id: string
  /** The id of the attempt's log entry. */
  readonly deliveryId: string
  /** The change as JSON, byte for byte as the database wrote it. */
  readonly body: string
}

/** The function, with everything that it needs. */
export type Handle = (attempted: Attempted) => Effect.Effect<void, unknown>

/** A function in place of an endpoint. */
export interface Subscriber {
  /** Opens when the function is about to go: nothing more is to be started. */
  readonly leaving: Latch.Latch
  /** Starts an attempt; the returned function breaks it off. */
  readonly start: (delivery: Delivery, timeoutMs: number, done: Done) => () => void
}

/** How long attempts may go on when the function goes; what has not ended by then is broken off, and due again. */
const leaveTime = "10 seconds"

/** Bytes of an error's message that the log keeps. */
const keptBytes = 1024

const messageOf = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.squash(cause)
  const text = error instanceof Error && error.message !== ""
    ? error.message
    : typeof error === "object" && error !== null && "_tag" in error
    ? String(error._tag)
    : String(error)
  // The bytes of whole characters: the last one may be cut in two.
  return Buffer.from(text).subarray(0, keptBytes).toString().replaceAll("\0", "\ufffd")
}

const parentOf = (traceparent: string | undefined) =>
  traceparent === undefined ? Option.none() : HttpTraceContext.w3c(Headers.fromInput({ traceparent }))

const makeSubscriber = Effect.fnUntraced(function*(name: string, handle: Handle) {
  const leaving = yield* Latch.make(false)
  const idle = yield* Latch.make(true)
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const running = new Map<Fiber.Fiber<void, unknown>, () => void>()
  let gone = false

  const start: Subscriber["start"] = (delivery, timeoutMs, done) => {
    const started = performance.now()
    let over = false
    let brokenOff = false
    const end = (statusCode: number | null, error: AttemptError | null, responseBody: string | null = null) => {
      if (over) return
      over = true
      clearTimeout(timer)
      const answer: Answer = {
        statusCode,
        responseBody,
        latencyMs: performance.now() - started,
        error,
        retryAfter: null
      }
      // Whoever starts an attempt does not expect its end before it has begun.
      queueMicrotask(() => {
        if (!brokenOff) done(answer)
      })
    }
    let fiber: Fiber.Fiber<void, unknown> | undefined = undefined
    const timer = setTimeout(() => {
      end(null, "timeout")
      fiber?.interruptUnsafe()
    }, timeoutMs)
    const breakOff = () => {
      over = brokenOff = true
      clearTimeout(timer)
      fiber?.interruptUnsafe()
    }
    if (gone) {
      end(null, "aborted")
      return breakOff
    }
    const id = encodeEventId(delivery.ref)
    const deliveryId = encodeAttemptId({ eventSeq: delivery.ref.seq, nonce: delivery.nonce })
    const attempt = Effect.suspend(() => handle({ id, deliveryId, body: delivery.body })).pipe(
      Effect.tapCause((cause) =>
        over || Cause.hasInterruptsOnly(cause) ? Effect.void : Effect.logWarning("a subscriber failed", cause).pipe(
          Effect.annotateLogs({ subscriber: name, event: id })
        )
      )
    )
    const parent = parentOf(delivery.traceparent)
    const forked = fork(Option.isSome(parent) ? Effect.withParentSpan(attempt, parent.value) : attempt)
    fiber = forked
    idle.closeUnsafe()
    running.set(forked, () => end(null, "aborted"))
    forked.addObserver((exit) => {
      running.delete(forked)
      if (running.size === 0) idle.openUnsafe()
      if (Exit.isSuccess(exit)) end(200, null)
      else if (Cause.hasInterruptsOnly(exit.cause)) end(null, "aborted")
      else end(null, "subscriber_failed", messageOf(exit.cause))
    })
    return breakOff
  }

  const leave = Effect.gen(function*() {
    yield* leaving.open
    yield* Effect.timeoutOption(idle.await, leaveTime)
    gone = true
    for (const [fiber, abort] of running) {
      abort()
      fiber.interruptUnsafe()
    }
  })

  return { leaving, start, leave }
})

/** The functions of this process that take deliveries in place of an endpoint. */
export class Subscribers extends Context.Service<Subscribers, {
  /** The function behind the URL of a webhook, if this process has it. */
  get(url: string): Subscriber | undefined
  /** Puts a function behind a URL, until the scope ends: then what is in flight has 10 seconds to end. */
  add(url: string, name: string, handle: Handle): Effect.Effect<void, AlreadySubscribed, Scope.Scope>
}>()("truss/services/Subscribers") {
  static readonly layer = Layer.sync(Subscribers, () => {
    const functions = new Map<string, Subscriber>()

    const add = Effect.fnUntraced(function*(url: string, name: string, handle: Handle) {
      if (functions.has(url)) return yield* new AlreadySubscribed({ name })
      const subscriber = yield* makeSubscriber(name, handle)
      functions.set(url, subscriber)
      yield* Effect.addFinalizer(() => {
        functions.delete(url)
        return subscriber.leave
      })
    })

    return Subscribers.of({ get: (url) => functions.get(url), add })
  })
}
