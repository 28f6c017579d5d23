import { Context } from "effect"
import { HttpApiMiddleware } from "effect/http-api"
import type { KeyScope } from "../../domain/ApiKey.ts"
import { Forbidden, Unauthorized, Unavailable } from "./Problems.ts"

/** Who a request comes from: the owner of an API key or of a session, or whoever reaches an open service from here. */
export class Principal extends Context.Service<Principal, {
  /** Stays the same whatever they are called, and is nobody else's. */
  readonly id: string
  /** For people to read; an identity of Kratos's may choose any. */
  readonly name: string
  /** What the audit calls them. */
  readonly actor: string
  readonly scope: KeyScope
}>()("truss/http/Principal") {}

/** Lets a request in, or answers 401 or 403; each prefix has its own rules. */
export class Access extends HttpApiMiddleware.Service<Access, { provides: Principal }>()("truss/http/Access", {
  error: [Unauthorized, Forbidden, Unavailable]
}) {}
