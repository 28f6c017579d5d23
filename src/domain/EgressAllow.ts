import { type Cidr, isWithin, parseCidr, parseIpAddress } from "./IpAddress.ts"
import { specialAddressOf } from "./SpecialAddress.ts"

/** What deliveries may reach although it is not public: a block of addresses, a host, or every host below a domain. */
export type EgressRule =
  | { readonly _tag: "Addresses"; readonly cidr: Cidr }
  | { readonly _tag: "Host"; readonly name: string }
  | { readonly _tag: "Below"; readonly domain: string }

export type EgressAllow = ReadonlyArray<EgressRule>

const dropDot = (name: string) => name.replace(/\.$/, "")

/** A name as URLs have it, in lower case and ASCII; `undefined` for what a URL would take as an address. */
const parseName = (text: string): string | undefined => {
  // Letters beyond ASCII become ASCII in a URL; whatever else may stand there would be something other than a host.
  const name = /^[\p{L}\p{M}\p{N}._-]+$/u.test(text) ? URL.parse(`http://${text}`)?.hostname : undefined
  return name === undefined || parseIpAddress(name) !== undefined || /(?:^|\.)\./.test(name) ? undefined : dropDot(name)
}

const parseRule = (text: string): EgressRule | undefined => {
  const cidr = parseCidr(text)
  if (cidr !== undefined) return { _tag: "Addresses", cidr }
  const below = text.startsWith("*.")
  const name = parseName(below ? text.slice(2) : text)
  if (name === undefined) return undefined
  return below ? { _tag: "Below", domain: `.${name}` } : { _tag: "Host", name }
}

/**
 * CIDRs (`10.0.0.0/8`), addresses, host names (`hooks.internal`) and domains (`*.corp.example`, without `corp.example`
 * itself), with commas between; or `none`. `undefined` if any of them is something else.
 */
export const parseEgressAllow = (text: string): EgressAllow | undefined => {
  if (text.trim().toLowerCase() === "none") return []
  const rules = text.split(",").map((entry) => parseRule(entry.trim()))
  return rules.every((rule) => rule !== undefined) ? rules : undefined
}

/** This machine alone. */
export const loopback: EgressAllow = parseEgressAllow("127.0.0.0/8, ::1")!

/** This machine and private networks (RFC 1918, RFC 4193). */
export const loopbackAndPrivate: EgressAllow = [
  ...loopback,
  ...parseEgressAllow("10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7")!
]

/** Whether a host may be reached wherever its name leads, cloud metadata excepted. */
const isAllowedHost = (allow: EgressAllow, host: string): boolean => {
  const name = dropDot(host).toLowerCase()
  return allow.some((rule) =>
    rule._tag === "Host" ? rule.name === name : rule._tag === "Below" && name.endsWith(rule.domain)
  )
}

/**
 * Why a connection to this address must not be made, in words that follow "is"; `undefined` if it may. `host` is the
 * name that led to it. Cloud metadata is reached only by a rule for that very address: a wide one seldom means it.
 */
export const whyForbidden = (allow: EgressAllow, text: string, host?: string): string | undefined => {
  const address = parseIpAddress(text)
  if (address === undefined) return "no IP address"
  const special = specialAddressOf(address)
  if (special === undefined) return undefined
  const allowed = !special.metadata && host !== undefined && isAllowedHost(allow, host) ||
    allow.some((rule) =>
      rule._tag === "Addresses" && isWithin(address, rule.cidr) &&
      (!special.metadata || rule.cidr.prefix === address.length * 8)
    )
  return allowed ? undefined : special.description
}
