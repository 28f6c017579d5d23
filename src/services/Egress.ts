/** Where requests may go: nothing but public addresses, and what is allowed besides. */
import { Context, Effect, Layer } from "effect"
import { lookup as systemLookup, type LookupAddress } from "node:dns"
import { isIP, type LookupFunction } from "node:net"
import { type EgressAllow, whyForbidden } from "../domain/EgressAllow.ts"
import { UrlNotAllowed } from "../domain/Errors.ts"

export interface EgressOptions {
  /** What may be reached although it is not public. */
  readonly allow?: EgressAllow | undefined
  /** How names become addresses, for those who have a way of their own; the system's (`dns.lookup`) unless said. */
  readonly lookup?: LookupFunction | undefined
}

/** A socket's error where its address must not be reached. */
export class BlockedAddress extends Error {
  readonly code = "ERR_BLOCKED_ADDRESS"
}

/** How long a name may take when somebody waits to hear whether a webhook may have it. */
const resolvePatience = "2 seconds"

/** The host of a URL, an IPv6 address without its brackets. */
export const hostOf = ({ hostname }: URL): string => hostname.startsWith("[") ? hostname.slice(1, -1) : hostname

// RFC 6761, 6.3: these names mean this machine, whether or not somebody answers for them.
const thisMachine = /(^|\.)localhost\.?$/i

/** What a lookup found; one that was asked for all may still answer with one. */
const toList = (found: string | ReadonlyArray<LookupAddress>, family: number | undefined) =>
  typeof found === "string" ? [{ address: found, family: family ?? isIP(found) }] : found

/** The guard of outgoing connections. */
export class Egress extends Context.Service<Egress, {
  /** A socket's `lookup`: only the addresses that may be reached, and `BlockedAddress` if that is none of them. */
  readonly lookup: LookupFunction
  /** The error of a socket that is to connect to this host, if that is an address: no `lookup` is asked for those. */
  refusal(host: string): BlockedAddress | undefined
  /**
   * Fails if a URL's host is an address that must not be reached, or a name that leads to such ones only. What does not
   * resolve in 2 seconds is not known yet: every connection is checked again.
   */
  check(url: string): Effect.Effect<void, UrlNotAllowed>
}>()("truss/services/Egress") {
  static readonly layer = ({ allow = [], lookup: resolve = systemLookup }: EgressOptions = {}) =>
    Layer.sync(Egress, () => {
      const lookup: LookupFunction = (host, options, callback) =>
        resolve(host, { ...options, all: true }, (error, found, family) => {
          if (error) return callback(error, [])
          const open = toList(found, family).filter(({ address }) => whyForbidden(allow, address, host) === undefined)
          const [first] = open
          if (first === undefined) return callback(new BlockedAddress(`${host} leads nowhere that may be reached`), [])
          return options.all === true ? callback(null, open) : callback(null, first.address, first.family)
        })

      const refusal = (host: string) => {
        const reason = isIP(host) === 0 ? undefined : whyForbidden(allow, host)
        return reason === undefined ? undefined : new BlockedAddress(`${host} is ${reason}`)
      }

      const addressesOf = (host: string) =>
        Effect.callback<ReadonlyArray<string>>((resume) => {
          resolve(host, { all: true }, (error, found, family) =>
            resume(Effect.succeed(
              error
                ? thisMachine.test(host) ? ["127.0.0.1"] : []
                : toList(found, family).map(({ address }) => address)
            )))
        }).pipe(Effect.timeoutOrElse({
          duration: resolvePatience,
          orElse: () => Effect.succeed([])
        }))

      const check = Effect.fn("Egress.check")(function*(text: string) {
        const host = hostOf(new URL(text))
        const named = isIP(host) === 0
        const reasons = (named ? yield* addressesOf(host) : [host]).map((address) => whyForbidden(allow, address, host))
        const [reason] = reasons
        if (reason === undefined || reasons.includes(undefined)) return
        // A name's addresses are not said: what a private DNS knows is not for everyone who may make webhooks.
        return yield* new UrlNotAllowed({
          detail: `${host} ${named ? "leads only to addresses that must not be reached" : "must not be reached"}: ` +
            `${reason}. TRUSS_EGRESS_ALLOW lists what may be reached besides public addresses.`
        })
      })

      return Egress.of({ lookup, refusal, check })
    })
}
