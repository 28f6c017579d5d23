import { HttpApiMiddleware } from "effect/http-api"
import type { Principal } from "./Access.ts"

/** Answers a POST that is sent again with the same `Idempotency-Key` as it was answered before. */
export class Idempotency extends HttpApiMiddleware.Service<Idempotency, { requires: Principal }>()(
  "truss/http/Idempotency"
) {}
