import { assert, describe, it } from "@effect/vitest"
import ipaddr from "ipaddr.js"
import { parseIpAddress } from "../../src/domain/IpAddress.ts"
import { specialAddressOf } from "../../src/domain/SpecialAddress.ts"
import { newSeed, randomOf } from "../support/Random.ts"

const special = (text: string) => specialAddressOf(parseIpAddress(text)!)

/** First and last address of each block, and the neighbours outside it that are public. */
const blocks: ReadonlyArray<
  readonly [name: string, first: string, last: string, before: string | null, after: string | null]
> = [
  ["this network", "0.0.0.0", "0.255.255.255", null, "1.0.0.0"],
  ["private use", "10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0"],
  ["shared address space", "100.64.0.0", "100.127.255.255", "100.63.255.255", "100.128.0.0"],
  ["loopback", "127.0.0.0", "127.255.255.255", "126.255.255.255", "128.0.0.0"],
  ["link-local", "169.254.0.0", "169.254.255.255", "169.253.255.255", "169.255.0.0"],
  ["private use", "172.16.0.0", "172.31.255.255", "172.15.255.255", "172.32.0.0"],
  ["IETF protocol", "192.0.0.0", "192.0.0.255", "191.255.255.255", "192.0.1.0"],
  ["documentation", "192.0.2.0", "192.0.2.255", "192.0.1.255", "192.0.3.0"],
  ["AS112", "192.31.196.0", "192.31.196.255", "192.31.195.255", "192.31.197.0"],
  ["multicast tunnelling", "192.52.193.0", "192.52.193.255", "192.52.192.255", "192.52.194.0"],
  ["6to4", "192.88.99.0", "192.88.99.255", "192.88.98.255", "192.88.100.0"],
  ["private use", "192.168.0.0", "192.168.255.255", "192.167.255.255", "192.169.0.0"],
  ["AS112", "192.175.48.0", "192.175.48.255", "192.175.47.255", "192.175.49.0"],
  ["benchmarking", "198.18.0.0", "198.19.255.255", "198.17.255.255", "198.20.0.0"],
  ["documentation", "198.51.100.0", "198.51.100.255", "198.51.99.255", "198.51.101.0"],
  ["documentation", "203.0.113.0", "203.0.113.255", "203.0.112.255", "203.0.114.0"],
  ["multicast", "224.0.0.0", "239.255.255.255", "223.255.255.255", null],
  ["reserved", "240.0.0.0", "255.255.255.254", null, null],
  ["broadcast", "255.255.255.255", "255.255.255.255", null, null],
  ["unspecified", "::", "::", null, null],
  ["loopback", "::1", "0:0:0:0:0:0:0:1", null, null],
  ["IPv4-compatible", "::2", "::ffff:ffff", null, null],
  ["loopback", "::ffff:127.0.0.1", "::ffff:7fff:ffff", "::ffff:126.255.255.255", "::ffff:8000:0"],
  ["IPv4-translated", "::ffff:0:0:0", "::ffff:0:ffff:ffff", null, null],
  ["NAT64", "64:ff9b::10.0.0.0", "64:ff9b::10.255.255.255", "64:ff9b::9.255.255.255", "64:ff9b::11.0.0.0"],
  ["local NAT64", "64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", null, null],
  ["discard", "100::", "100::ffff:ffff:ffff:ffff", null, null],
  ["dummy", "100:0:0:1::", "100::1:ffff:ffff:ffff:ffff", null, null],
  ["Teredo", "2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", null, null],
  ["IETF protocol", "2001:1::", "2001:1:ffff:ffff:ffff:ffff:ffff:ffff", null, null],
  ["benchmarking", "2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", null, null],
  ["ORCHID ", "2001:10::", "2001:1f:ffff:ffff:ffff:ffff:ffff:ffff", null, null],
  ["ORCHIDv2", "2001:20::", "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff", null, null],
  ["drone", "2001:30::", "2001:3f:ffff:ffff:ffff:ffff:ffff:ffff", null, null],
  ["IETF protocol", "2001:40::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", null, "2001:200::"],
  ["documentation", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db7:ffff::", "2001:db9::"],
  ["6to4", "2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:ffff::", "2003::"],
  ["AS112", "2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff", "2620:4f:7fff::", "2620:4f:8001::"],
  ["documentation", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3ffe:ffff::", "3fff:1000::"],
  ["segment routing", "5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", null, null],
  ["unique local", "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", null, null],
  ["link-local", "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", null, null],
  ["site-local", "fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", null, null],
  ["multicast", "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", null, null],
  ["not global unicast", "4000::", "5eff:ffff::", "3fff:ffff::", null]
]

/** Whether the second opinion takes an address for public. */
const second = (bytes: ReadonlyArray<number>): boolean => {
  const address = ipaddr.fromByteArray([...bytes])
  if (address instanceof ipaddr.IPv4) return address.range() === "unicast"
  // A socket connects to the IPv4 address: it is judged as that. ipaddr.js calls all of them special.
  if (address.isIPv4MappedAddress()) return address.toIPv4Address().range() === "unicast"
  // Networks with IPv6 alone reach the public IPv4 Internet by the well-known prefix. ipaddr.js calls all of it special.
  if (address.match(ipaddr.IPv6.parse("64:ff9b::"), 96)) return second(bytes.slice(12))
  // It knows special blocks, and not that nothing outside 2000::/3 was ever assigned.
  return address.range() === "unicast" && address.match(ipaddr.IPv6.parse("2000::"), 3)
}

describe("an address", () => {
  it("is special from the first of a block to its last, and public on both sides", () => {
    for (const [name, first, last, before, after] of blocks) {
      assert.include(special(first)?.description, name, first)
      assert.include(special(last)?.description, name, last)
      for (const outside of [before, after]) {
        if (outside !== null) assert.isUndefined(special(outside), outside)
      }
    }
  })

  it("is public where people have their servers", () => {
    for (
      const address of ["1.1.1.1", "8.8.8.8", "93.184.216.34", "172.217.0.1", "2606:4700::1111", "2a00:1450:4001::1"]
    ) {
      assert.isUndefined(special(address), address)
    }
  })

  it("of a cloud's metadata is told apart from what is around it, in whatever IPv6 address it is embedded", () => {
    const all = [
      "169.254.169.254",
      "169.254.170.2",
      "169.254.170.23",
      "100.100.100.200",
      "168.63.129.16",
      "192.0.0.192",
      "fd00:ec2::254",
      "fd20:ce::254",
      "fe80::a9fe:a9fe",
      "::ffff:169.254.169.254",
      "::169.254.169.254",
      "::ffff:0:169.254.169.254",
      "64:ff9b::169.254.169.254",
      "64:ff9b:1::169.254.169.254",
      "2002:a9fe:a9fe::1",
      "2001:0:4136:e378:8000:63bf:5601:5601"
    ]
    for (const address of all) assert.isTrue(special(address)?.metadata, address)
    for (const address of ["169.254.169.1", "100.100.100.201", "fd00::1", "64:ff9b::127.0.0.1"]) {
      assert.isFalse(special(address)?.metadata, address)
    }
    assert.isUndefined(special("168.63.129.17"))
  })

  it("is public or not as ipaddr.js says, wherever it is", () => {
    const seed = newSeed()
    const random = randomOf(seed)
    const below = (n: number) => Math.floor(random() * n)
    const one = <A>(of: ReadonlyArray<A>): A => of[below(of.length)]!
    const edges = blocks.flatMap(([, first, last]) => [parseIpAddress(first)!, parseIpAddress(last)!])
    const nearEdge = () => {
      const edge = one(edges)
      const changed = below(edge.length)
      return edge.map((value, i) => i === changed ? (value + below(5) + 254) & 255 : value)
    }
    const kinds = [
      () => Array.from({ length: 4 }, () => below(256)),
      () => Array.from({ length: 16 }, (_, i) => i === 0 && random() < 0.7 ? 0x20 + below(32) : below(256)),
      // Few lie in a block by chance.
      nearEdge,
      () => {
        const prefix = one(["::", "::ffff:", "::ffff:0:", "64:ff9b::", "64:ff9b:1::"])
        return ipaddr.parse(`${prefix}${ipaddr.fromByteArray(nearEdge().slice(-4))}`).toByteArray()
      }
    ]
    let publicOnes = 0
    for (let i = 0; i < 40_000; i++) {
      const bytes = kinds[i % kinds.length]!()
      const text = ipaddr.fromByteArray(bytes).toString()
      const found = special(text)
      if (found === undefined) publicOnes++
      // What clouds have taken for themselves is in no registry.
      if (found?.metadata !== true) assert.strictEqual(found === undefined, second(bytes), `${text}, seed ${seed}`)
    }
    assert.isAbove(publicOnes, 5_000)
  })
})
