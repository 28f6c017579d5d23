import { Context } from "effect"
import { HttpApiMiddleware } from "effect/http-api"
import type { KeyScope } from "../../domain/ApiKey.ts"
import { Forbidden, Unauthorized, Unavailable } from "./Problems.ts"

/** Who a request comes from: the owner of an API key, or whoever reaches an open service from this machine. */
export class Principal extends Context.Service<Principal, {
  readonly name: string
  /** The stored API key's id, if it was one. */
  readonly keyId: string | null
  readonly scope: KeyScope
}>()("truss/http/Principal") {}

/** Lets a request in, or answers 401 or 403; each prefix has its own rules. */
export class Access extends HttpApiMiddleware.Service<Access, { provides: Principal }>()("truss/http/Access", {
  error: [Unauthorized, Forbidden, Unavailable]
}) {}
