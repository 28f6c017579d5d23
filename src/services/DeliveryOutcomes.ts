import { Effect, Option, Stream } from "effect"
import type { LogEntry } from "../domain/Attempt.ts"
import type { DatabaseUnavailable, TooManySubscribers, WebhookNotFound } from "../domain/Errors.ts"
import { LogTails } from "./LogTails.ts"

/**
 * What becomes of a webhook's deliveries: each entry of its log as it is written, by whichever process delivers. From now
 * on, or from behind the entry `after`, without a gap; whoever is slow is waited for. Ends with the webhook and with the
 * service. Payloads are parsed, so numbers beyond 2^53 lose digits here.
 */
export const deliveryOutcomes = (
  webhookId: string,
  options: { readonly after?: string | undefined } = {}
): Stream.Stream<LogEntry, WebhookNotFound | TooManySubscribers | DatabaseUnavailable, LogTails> =>
  Stream.unwrap(Effect.gen(function*() {
    const tail = yield* (yield* LogTails).open(webhookId, options.after)
    let after = tail.startId
    const step = Effect.fnUntraced(function*() {
      yield* tail.ready
      const taken = tail.take()
      if (typeof taken === "string") return [[], Option.none<typeof taken>()] as const
      after = taken.at(-1)?.id ?? after
      return [taken.map(({ json }): LogEntry => JSON.parse(json)), Option.some("more" as const)] as const
    })
    return Stream.paginate("more" as const, step)
  }))
