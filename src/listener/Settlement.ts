import { isSuccess } from "../domain/Attempt.ts"
import { apply, type DeliveryState, fold, nextProbeAt } from "../domain/DeliveryState.ts"
import { retryAfterOf, retryDelayMs } from "../domain/Retry.ts"
import { type AttemptRecord, toFolded } from "../services/AttemptRecord.ts"
import type { Finished } from "./Lanes.ts"

/** An attempt as the log will have it, and what the log then says. */
export interface Settlement {
  readonly record: AttemptRecord
  readonly state: DeliveryState
}

/** The endpoint says that it is gone for good. */
export const isGone = ({ statusCode }: { readonly statusCode: number | null }): boolean => statusCode === 410

/** Decides what becomes of an event after an attempt: delivered, given up, or to be tried again, and when. */
export const settle = (finished: Finished, maxAttempts: number, before: DeliveryState, now: number): Settlement => {
  const { answer, task } = finished
  const success = isSuccess(answer)
  // What we broke off ourselves, and what was sent to learn whether the endpoint is back, uses up no attempt.
  const free = answer.error === "aborted" || finished.probe
  const again = !success && !isGone(answer) && (free || task.attempt < maxAttempts)
  const record: AttemptRecord = {
    ref: task.event.ref,
    eventType: task.event.eventType,
    nonce: finished.nonce,
    attempt: task.attempt,
    createdAt: finished.createdAt,
    statusCode: answer.statusCode,
    responseBody: answer.responseBody,
    latencyMs: answer.latencyMs,
    error: answer.error,
    outcome: success ? "success" : again ? "retrying" : "failed",
    nextAttemptAt: again ? now + retryDelayMs(task.attempt, Math.random(), retryAfterOf(answer, now)) : null,
    replayOf: task.replayOf,
    wasDue: task.due,
    probe: finished.probe,
    keys: task.keys
  }
  if (success && before.failCount === 0) return { record, state: before }
  const state = apply(before, fold([toFolded(record)]))
  return again && finished.probe
    ? { record: { ...record, nextAttemptAt: nextProbeAt(state) }, state }
    : { record, state }
}
