import { assert, describe, it } from "@effect/vitest"
import { loopbackAndPrivate, parseEgressAllow, whyForbidden } from "../../src/domain/EgressAllow.ts"

const allow = (text: string) => parseEgressAllow(text)!
const may = (rules: string, address: string, host?: string) =>
  assert.isUndefined(whyForbidden(allow(rules), address, host), `${address} ${host ?? ""} by ${rules}`)
const mayNot = (rules: string, address: string, host?: string) =>
  assert.isString(whyForbidden(allow(rules), address, host), `${address} ${host ?? ""} by ${rules}`)

describe("what deliveries may reach", () => {
  it("is public unless it is allowed", () => {
    may("none", "93.184.216.34")
    may("none", "::ffff:93.184.216.34")
    mayNot("none", "127.0.0.1")
    mayNot("none", "not an address")
    may("127.0.0.0/8", "127.0.0.1")
    may("127.0.0.0/8", "::ffff:127.0.0.1")
    mayNot("127.0.0.0/8", "::1")
    mayNot("127.0.0.0/8", "64:ff9b::127.0.0.1")
    mayNot("127.0.0.0/8", "2002:7f00:1::")
    may("10.9.9.9/8", "10.1.2.3")
    may("::1", "::1")
    may("0.0.0.0/0, ::/0", "fe80::1%eth0")
  })

  it("by a host's name is wherever that name leads, and by a domain every name below it", () => {
    may("hooks.internal", "10.0.0.1", "hooks.internal")
    may("hooks.internal", "10.0.0.1", "hooks.internal.")
    may("Hooks.Internal.", "10.0.0.1", "hooks.internal")
    may("bücher.internal", "10.0.0.1", "xn--bcher-kva.internal")
    may("my_service", "10.0.0.1", "my_service")
    mayNot("hooks.internal", "10.0.0.1")
    mayNot("hooks.internal", "10.0.0.1", "a.hooks.internal")
    may("*.internal", "10.0.0.1", "hooks.internal")
    may("*.internal", "10.0.0.1", "a.hooks.internal")
    mayNot("*.internal", "10.0.0.1", "internal")
    mayNot("*.internal", "10.0.0.1", "hooks.internal.example")
    mayNot("*.corp.example", "10.0.0.1", "evilcorp.example")
  })

  it("is a cloud's metadata only when that very address is allowed", () => {
    for (const address of ["169.254.169.254", "100.100.100.200", "168.63.129.16", "fd00:ec2::254"]) {
      assert.isString(whyForbidden(loopbackAndPrivate, address), address)
      mayNot("0.0.0.0/0, ::/0, metadata.internal", address, "metadata.internal")
      may(`${address}`, address)
    }
    mayNot("::/0", "64:ff9b::169.254.169.254")
    mayNot("169.254.169.254", "64:ff9b::169.254.169.254")
    may("169.254.169.254/32", "::ffff:169.254.169.254")
  })

  it("by default is loopback and private networks, and nothing else that is special", () => {
    for (
      const address of [
        "127.0.0.1",
        "127.255.0.1",
        "::1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "fd12::1",
        "fc00::1"
      ]
    ) {
      assert.isUndefined(whyForbidden(loopbackAndPrivate, address), address)
    }
    for (const address of ["0.0.0.0", "::", "169.254.1.1", "100.64.0.1", "fe80::1", "224.0.0.1", "198.18.0.1"]) {
      assert.isString(whyForbidden(loopbackAndPrivate, address), address)
    }
  })

  it("is said in a list without mistakes, or not at all", () => {
    const wrong = [
      "",
      ",",
      "10.0.0.0/8,",
      "10.0.0.0/33",
      "::/129",
      "127.1",
      "0x7f.1",
      "2130706433",
      "１２７.0.0.1",
      "hooks.internal:80",
      "http://hooks.internal",
      "user@hooks.internal",
      "hooks.internal/path",
      "[::1]",
      "*",
      "*.",
      "*.127.1",
      "a*.internal",
      "*.*.internal",
      ".internal",
      "a..internal",
      "10.0.0.0-10.0.0.9",
      "a b",
      "fe80::1%eth0"
    ]
    for (const text of wrong) assert.isUndefined(parseEgressAllow(text), text)
    assert.deepStrictEqual(parseEgressAllow(" None "), [])
    assert.lengthOf(allow(" 10.0.0.0/8 , ::1,hooks.internal "), 3)
  })
})
