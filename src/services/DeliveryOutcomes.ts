import { Effect, Option, Stream } from "effect"
import type { LogEntry } from "../domain/Attempt.ts"
import type { DatabaseUnavailable, TooManySubscribers, WebhookNotFound } from "../domain/Errors.ts"
import { LogTails } from "./LogTails.ts"

type Outcomes = Stream.Stream<LogEntry, WebhookNotFound | TooManySubscribers | DatabaseUnavailable, LogTails>

/** How far a reader is. Whoever falls too far behind subscribes anew from there. */
interface Position {
  after: string | undefined
  isBehind: boolean
}

const subscription = (webhookId: string, position: Position): Outcomes =>
  Stream.unwrap(Effect.gen(function*() {
    const tail = yield* (yield* LogTails).open(webhookId, position.after)
    if (tail.reset) {
      yield* Effect.logWarning(
        "outcomes begin with what is new: the entry to go on from is not in the log (any more)",
        {
          webhook: webhookId,
          after: position.after
        }
      )
    }
    position.after = tail.startId
    position.isBehind = false
    const step = Effect.fnUntraced(function*() {
      yield* tail.ready
      const taken = tail.take()
      if (typeof taken === "string") {
        position.isBehind = taken === "overflow"
        return [[], Option.none<void>()] as const
      }
      position.after = taken.at(-1)?.id ?? position.after
      return [taken.map(({ json }): LogEntry => JSON.parse(json)), Option.some<void>(undefined)] as const
    })
    return Stream.paginate(undefined as void, step)
  }))

/**
 * What becomes of a webhook's deliveries: each entry of its log as it is written, by whichever process delivers. From now
 * on, or from behind the entry `after`, without a gap; whoever is slow is waited for. Ends with the webhook and with the
 * service. Payloads are parsed, so numbers beyond 2^53 lose digits here.
 */
export const deliveryOutcomes = (
  webhookId: string,
  options: { readonly after?: string | undefined } = {}
): Outcomes =>
  Stream.suspend(() => {
    const position: Position = { after: options.after, isBehind: false }
    const outcomes: Outcomes = Stream.concat(
      subscription(webhookId, position),
      Stream.suspend(() => position.isBehind ? outcomes : Stream.empty)
    )
    return outcomes
  })
