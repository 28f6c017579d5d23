/**
 * An IP address as its bytes: 4, or 16. An IPv4-mapped address (`::ffff:a.b.c.d`) is the IPv4 address that a socket
 * would connect to.
 */
export type IpAddress = ReadonlyArray<number>

/** A block of addresses: those whose first `prefix` bits are those of `address`. */
export interface Cidr {
  readonly address: IpAddress
  readonly prefix: number
}

const parseV4 = (text: string): IpAddress | undefined => {
  if (!/^(?:(?:0|[1-9]\d{0,2})\.){3}(?:0|[1-9]\d{0,2})$/.test(text)) return undefined
  const bytes = text.split(".").map(Number)
  return bytes.every((byte) => byte < 256) ? bytes : undefined
}

// The URL parser knows every way to write an IPv6 address, and writes it as groups of hexadecimal digits.
const parseV6 = (text: string): IpAddress | undefined => {
  const host = /^[\da-f:.]+$/i.test(text) ? URL.parse(`http://[${text}]`)?.hostname : undefined
  if (host === undefined) return undefined
  const [head, tail] = host.slice(1, -1).split("::").map((part) => part === "" ? [] : part.split(":"))
  const zeros = Array.from({ length: 8 - head!.length - (tail?.length ?? 0) }, () => "0")
  return [...head!, ...zeros, ...(tail ?? [])].flatMap((group) => {
    const value = Number.parseInt(group, 16)
    return [value >> 8, value & 255]
  })
}

const mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255]

const isMapped = (address: IpAddress) => address.length === 16 && mapped.every((byte, i) => address[i] === byte)

/** IPv4 in four decimal numbers, or IPv6 in any form, a zone (`%eth0`) left out of account. */
export const parseIpAddress = (text: string): IpAddress | undefined => {
  const address = parseV4(text) ?? parseV6(text.replace(/%.*$/s, ""))
  return address !== undefined && isMapped(address) ? address.slice(12) : address
}

/** `10.0.0.0/8`, or one address without a prefix. Bits behind the prefix count for nothing. */
export const parseCidr = (text: string): Cidr | undefined => {
  const match = /^([^/%]+)(?:\/(0|[1-9]\d{0,2}))?$/.exec(text)
  const address = match === null ? undefined : parseIpAddress(match[1]!)
  if (address === undefined) return undefined
  const bits = address.length * 8
  const written = match![1]!.includes(":") ? 128 : 32
  const prefix = match![2] === undefined ? bits : Number(match![2]) - (written - bits)
  return prefix >= 0 && prefix <= bits ? { address, prefix } : undefined
}

/** Whether an address lies in a block; one of IPv4 never lies in one of IPv6. */
export const isWithin = (address: IpAddress, cidr: Cidr): boolean => {
  if (address.length !== cidr.address.length) return false
  const whole = cidr.prefix >> 3
  for (let i = 0; i < whole; i++) if (address[i] !== cidr.address[i]) return false
  const rest = 8 - (cidr.prefix & 7)
  return rest === 8 || address[whole]! >> rest === cidr.address[whole]! >> rest
}
