import { assert, describe, it } from "@effect/vitest"
import ipaddr from "ipaddr.js"
import { isIP } from "node:net"
import { isWithin, parseCidr, parseIpAddress } from "../../src/domain/IpAddress.ts"
import { newSeed, randomOf } from "../support/Random.ts"

const texts = [
  "0.0.0.0",
  "255.255.255.255",
  "1.2.3.4",
  "::",
  "::1",
  "1::",
  "1:2:3:4:5:6:7:8",
  "1:2:3:4:5:6:7::",
  "::2:3:4:5:6:7:8",
  "1:2::7:8",
  "FE80::ABCD",
  "0001:0002:0003:0004:0005:0006:0007:0008",
  "64:ff9b::1.2.3.4",
  "1:2:3:4:5:6:1.2.3.4"
]

const wrong = [
  "",
  ".",
  ":",
  "1",
  "1.2.3",
  "1.2.3.4.5",
  "1.2.3.256",
  "01.2.3.4",
  "1.2.3.4 ",
  "0x1.2.3.4",
  "1.2.3.4\n",
  ":::",
  "1::2::3",
  "1:2:3:4:5:6:7",
  "1:2:3:4:5:6:7:8:9",
  "12345::",
  "g::",
  "::1]",
  "[::1]",
  "::1.2.3",
  "::ffff:1.2.3.256",
  "localhost",
  "1::/64"
]

describe("an address's text", () => {
  it("is read in every form, as ipaddr.js reads it", () => {
    for (const text of texts) assert.deepStrictEqual(parseIpAddress(text), ipaddr.parse(text).toByteArray(), text)
    // ipaddr.js takes this one for ::ffff:1.2.3.4.
    assert.deepStrictEqual(parseIpAddress("::1.2.3.4"), parseIpAddress("::102:304"))
  })

  it("is no address when Node says that it is none", () => {
    for (const text of wrong) {
      assert.isUndefined(parseIpAddress(text), JSON.stringify(text))
      assert.strictEqual(isIP(text), 0, JSON.stringify(text))
    }
  })

  it("may name a zone, which says nothing about the address", () => {
    assert.deepStrictEqual(parseIpAddress("fe80::1%eth0"), parseIpAddress("fe80::1"))
    assert.isUndefined(parseIpAddress("%eth0"))
    assert.isUndefined(parseIpAddress("127.0.0.1%eth0"))
  })

  it("of an IPv4-mapped address is that of the IPv4 address", () => {
    for (const text of ["::ffff:1.2.3.4", "::ffff:102:304", "0:0:0:0:0:ffff:102:304", "::FFFF:1.2.3.4"]) {
      assert.deepStrictEqual(parseIpAddress(text), [1, 2, 3, 4], text)
    }
    assert.lengthOf(parseIpAddress("::fffe:1.2.3.4")!, 16)
  })
})

describe("a block", () => {
  it("has a prefix that its kind of address allows, or is one address", () => {
    assert.deepStrictEqual(parseCidr("10.0.0.0/8"), { address: [10, 0, 0, 0], prefix: 8 })
    assert.deepStrictEqual(parseCidr("10.1.2.3"), { address: [10, 1, 2, 3], prefix: 32 })
    assert.deepStrictEqual(parseCidr("::1")?.prefix, 128)
    assert.deepStrictEqual(parseCidr("::ffff:10.0.0.0/104"), { address: [10, 0, 0, 0], prefix: 8 })
    for (
      const text of ["10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/08", "/8", "10/8", "::ffff:0:0/95"]
    ) {
      assert.isUndefined(parseCidr(text), text)
    }
  })

  it("holds what ipaddr.js says that it holds", () => {
    const seed = newSeed()
    const random = randomOf(seed)
    const below = (n: number) => Math.floor(random() * n)
    for (let i = 0; i < 20_000; i++) {
      const length = i % 2 === 0 ? 4 : 16
      // Never an IPv4-mapped one: those are IPv4 here.
      const address = Array.from({ length }, (_, at) => at === 0 ? 32 + below(32) : below(256))
      const prefix = below(length * 8 + 1)
      const changed = below(length * 8)
      const other = address.map((byte, at) => at === changed >> 3 ? byte ^ (128 >> (changed & 7)) : byte)
      const text = `${ipaddr.fromByteArray(address)}/${prefix}`
      const cidr = parseCidr(text)!
      for (const one of [address, other]) {
        assert.strictEqual(
          isWithin(one, cidr),
          ipaddr.fromByteArray([...one]).match(ipaddr.parseCIDR(text)),
          `${ipaddr.fromByteArray([...one])} in ${text}, seed ${seed}`
        )
      }
      assert.isFalse(
        isWithin(length === 4 ? [...address, ...address, ...address, ...address] : address.slice(0, 4), cidr)
      )
    }
  })
})
