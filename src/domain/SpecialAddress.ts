/**
 * Addresses that are not simply a place in the public Internet. Sources: the IANA IPv4 and IPv6 Special-Purpose Address
 * Registries (RFC 6890) as of October 2025, the IANA IPv6 Address Space Registry (only `2000::/3` is global unicast),
 * and the documents of the clouds for where their machines ask for credentials.
 */
import { type Cidr, type IpAddress, isWithin, parseCidr } from "./IpAddress.ts"

/** What an address is, if it is not public. */
export interface SpecialAddress {
  /** What for, with the block and where that is laid down: `loopback (127.0.0.0/8, RFC 1122)`. */
  readonly description: string
  /** Whether machines in a cloud get credentials or settings there. */
  readonly metadata: boolean
}

interface Block extends SpecialAddress {
  readonly cidr: Cidr
  /** The IPv4 address that packets go to in the end. */
  readonly embedded?: ((address: IpAddress) => IpAddress) | undefined
  /** Public as long as the embedded address is. */
  readonly reachable?: boolean | undefined
}

const block = (
  cidr: string,
  name: string,
  source: string,
  more?: Pick<Block, "embedded" | "reachable"> & { readonly metadata?: boolean }
): Block => ({
  cidr: parseCidr(cidr)!,
  description: `${name} (${cidr}, ${source})`,
  metadata: false,
  ...more
})

const metadata = (cidr: string, cloud: string) => block(cidr, "cloud metadata", cloud, { metadata: true })

const lastFour = (address: IpAddress) => address.slice(12)

// The narrower block of two stands first.
const blocks: ReadonlyArray<Block> = [
  metadata("169.254.169.254/32", "AWS, Azure, Google Cloud and most others"),
  metadata("169.254.170.2/32", "AWS ECS"),
  metadata("169.254.170.23/32", "AWS EKS"),
  metadata("169.254.0.23/32", "Tencent Cloud"),
  metadata("169.254.42.42/32", "Scaleway"),
  metadata("100.100.100.200/32", "Alibaba Cloud"),
  metadata("168.63.129.16/32", "Azure"),
  metadata("192.0.0.192/32", "Oracle Cloud"),
  metadata("fd00:ec2::/32", "AWS"),
  metadata("fd20:ce::254/128", "Google Cloud"),
  metadata("fd00:42::42/128", "Scaleway"),
  metadata("fd00:c1::a9fe:a9fe/128", "Oracle Cloud"),
  metadata("fe80::a9fe:a9fe/128", "OpenStack"),

  block("0.0.0.0/8", "this network", "RFC 791"),
  block("10.0.0.0/8", "private use", "RFC 1918"),
  block("100.64.0.0/10", "shared address space of carriers", "RFC 6598"),
  block("127.0.0.0/8", "loopback", "RFC 1122"),
  block("169.254.0.0/16", "link-local", "RFC 3927"),
  block("172.16.0.0/12", "private use", "RFC 1918"),
  block("192.0.0.0/24", "IETF protocol assignments", "RFC 6890"),
  block("192.0.2.0/24", "documentation", "RFC 5737"),
  block("192.31.196.0/24", "AS112", "RFC 7535"),
  block("192.52.193.0/24", "automatic multicast tunnelling", "RFC 7450"),
  block("192.88.99.0/24", "6to4 relays", "RFC 7526"),
  block("192.168.0.0/16", "private use", "RFC 1918"),
  block("192.175.48.0/24", "AS112", "RFC 7534"),
  block("198.18.0.0/15", "benchmarking", "RFC 2544"),
  block("198.51.100.0/24", "documentation", "RFC 5737"),
  block("203.0.113.0/24", "documentation", "RFC 5737"),
  block("224.0.0.0/4", "multicast", "RFC 5771"),
  block("255.255.255.255/32", "broadcast", "RFC 919"),
  block("240.0.0.0/4", "reserved", "RFC 1112"),

  block("::/128", "unspecified", "RFC 4291"),
  block("::1/128", "loopback", "RFC 4291"),
  block("::/96", "IPv4-compatible", "RFC 4291", { embedded: lastFour }),
  block("::ffff:0:0:0/96", "IPv4-translated", "RFC 2765", { embedded: lastFour }),
  block("64:ff9b::/96", "NAT64", "RFC 6052", { embedded: lastFour, reachable: true }),
  block("64:ff9b:1::/48", "local NAT64", "RFC 8215", { embedded: lastFour }),
  block("100::/64", "discard only", "RFC 6666"),
  block("100:0:0:1::/64", "dummy prefix", "RFC 9780"),
  block("2001::/32", "Teredo", "RFC 4380", { embedded: (address) => lastFour(address).map((byte) => byte ^ 255) }),
  block("2001:2::/48", "benchmarking", "RFC 5180"),
  block("2001:3::/32", "automatic multicast tunnelling", "RFC 7450"),
  block("2001:4:112::/48", "AS112", "RFC 7535"),
  block("2001:10::/28", "ORCHID", "RFC 4843"),
  block("2001:20::/28", "ORCHIDv2", "RFC 7343"),
  block("2001:30::/28", "drone remote identification", "RFC 9374"),
  block("2001::/23", "IETF protocol assignments", "RFC 2928"),
  block("2001:db8::/32", "documentation", "RFC 3849"),
  block("2002::/16", "6to4", "RFC 3056", { embedded: (address) => address.slice(2, 6) }),
  block("2620:4f:8000::/48", "AS112", "RFC 7534"),
  block("3fff::/20", "documentation", "RFC 9637"),
  block("5f00::/16", "segment routing", "RFC 9602"),
  block("fc00::/7", "unique local", "RFC 4193"),
  block("fe80::/10", "link-local", "RFC 4291"),
  block("fec0::/10", "site-local", "RFC 3879"),
  block("ff00::/8", "multicast", "RFC 4291")
]

const globalUnicast = parseCidr("2000::/3")!
const unassigned: SpecialAddress = { description: "not global unicast (outside 2000::/3, RFC 4291)", metadata: false }

/** What an address is, by the narrowest block that holds it, or `undefined` for a public one. */
export const specialAddressOf = (address: IpAddress): SpecialAddress | undefined => {
  const found = blocks.find(({ cidr }) => isWithin(address, cidr))
  if (found === undefined) return address.length === 4 || isWithin(address, globalUnicast) ? undefined : unassigned
  const embedded = found.embedded === undefined ? undefined : specialAddressOf(found.embedded(address))
  if (embedded === undefined) return found.reachable === true ? undefined : found
  return { description: `${found.description} of ${embedded.description}`, metadata: embedded.metadata }
}
