import { Effect, type Latch } from "effect"

/** A program that starts has so long to bring its functions before that is worth a line in the log. */
const patience = "5 seconds"

/**
 * Delivers nothing, since the function to deliver to is not in this process, until something about the webhook changes.
 * Its events wait where they are and lose no attempts.
 */
export const awaitSubscriber = (url: string, changed: Latch.Latch): Effect.Effect<void> =>
  Effect.raceFirst(
    changed.await,
    Effect.andThen(
      Effect.delay(
        Effect.logWarning(
          "this process delivers and does not have the function: the webhook's events wait until one that has it delivers",
          { url }
        ),
        patience
      ),
      Effect.never
    )
  )
