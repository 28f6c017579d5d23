import { Effect } from "effect"
import type { ApiKeyNotFound } from "../domain/ApiKey.ts"
import type {
  DatabaseUnavailable,
  EventNotFound,
  EventNotWaiting,
  InvalidFilter,
  InvalidParameter,
  JobNotFound,
  LogEntryNotFound,
  NoSubscriber,
  SecretsUnavailable,
  TableLocked,
  TableMismatch,
  TableNotWatchable,
  TookTooLong,
  TooManySubscribers,
  UrlNotAllowed,
  WebhookChanged,
  WebhookNotFound
} from "../domain/Errors.ts"
import {
  Locked,
  Mismatch,
  NoSubscriber as NoSubscriberProblem,
  NotFound,
  NotWatchable,
  PreconditionFailed,
  TooManySubscribers as TooManySubscribersProblem,
  Unavailable,
  UrlForbidden
} from "./api/Problems.ts"
import { badRequest } from "./Faults.ts"

const problems = {
  WebhookNotFound: (_: WebhookNotFound) => new NotFound({ detail: "There is no such webhook" }),
  WebhookChanged: (_: WebhookChanged) =>
    new PreconditionFailed({ detail: "The webhook is not what the condition says: read it again" }),
  LogEntryNotFound: (_: LogEntryNotFound) => new NotFound({ detail: "There is no such entry in this webhook's log" }),
  EventNotWaiting: (_: EventNotWaiting) => new NotFound({ detail: "No such event waits for its next attempt" }),
  EventNotFound: (_: EventNotFound) => new NotFound({ detail: "There is no such event, or it is past retention" }),
  ApiKeyNotFound: (_: ApiKeyNotFound) => new NotFound({ detail: "There is no such API key" }),
  JobNotFound: (_: JobNotFound) => new NotFound({ detail: "This webhook has no such job" }),
  TableNotWatchable: ({ detail, reason }: TableNotWatchable) => new NotWatchable({ detail, reason }),
  TableLocked: ({ detail }: TableLocked) => new Locked({ detail }),
  InvalidParameter: ({ message, path }: InvalidParameter) => badRequest([{ path, message }]),
  InvalidFilter: ({ faults }: InvalidFilter) => badRequest(faults),
  TableMismatch: ({ faults }: TableMismatch) =>
    new Mismatch({ detail: faults.map(({ message }) => message).join("; "), errors: faults }),
  UrlNotAllowed: ({ detail }: UrlNotAllowed) =>
    new UrlForbidden({ detail, errors: [{ path: "url", message: detail }] }),
  NoSubscriber: ({ url }: NoSubscriber) =>
    new NoSubscriberProblem({ detail: `This process does not have the function ${url}: ask one that has` }),
  TookTooLong: ({ detail }: TookTooLong) => new Unavailable({ detail }),
  SecretsUnavailable: ({ detail }: SecretsUnavailable) => new Unavailable({ detail }),
  TooManySubscribers: ({ detail }: TooManySubscribers) => new TooManySubscribersProblem({ detail }),
  // What the driver says may name hosts and users.
  DatabaseUnavailable: ({ timeoutSeconds }: DatabaseUnavailable) =>
    new Unavailable({
      detail: timeoutSeconds === undefined
        ? "The database does not answer"
        : `The database took over ${timeoutSeconds} s: ask for less, or later`
    })
}

type DomainError = Parameters<(typeof problems)[keyof typeof problems]>[0]
type ProblemOf<E> = E extends { readonly _tag: infer Tag extends keyof typeof problems }
  ? ReturnType<(typeof problems)[Tag]>
  : never

/** Says the errors of the services in HTTP. */
export const asProblems = <A, E extends DomainError, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.mapError(effect, (error): ProblemOf<E> => (problems[error._tag] as (error: DomainError) => never)(error))
