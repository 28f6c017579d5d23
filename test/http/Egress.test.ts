import { assert, it } from "@effect/vitest"
import { Duration, Effect, Layer, References } from "effect"
import { parseEgressAllow } from "../../src/domain/EgressAllow.ts"
import { Alerts } from "../../src/services/Alerts.ts"
import { NameServer } from "../support/NameServer.ts"
import { Receiver } from "../support/Receiver.ts"
import { Application, run, RunningService } from "../support/RunningService.ts"

/** Ways to write an address that must not be reached; each leads to this machine, to its network or to a cloud's. */
const disguised = [
  "127.0.0.1",
  "127.0.0.2",
  "127.255.255.254",
  "127.1",
  "127.0.1",
  "127.0.0.1.",
  "2130706433",
  "2130706433.",
  "0x7f000001",
  "0X7F000001",
  "0x7f.1",
  "0x7f.0x0.0x0.0x1",
  "017700000001",
  "0177.0.0.1",
  "0177.0x0.1",
  "00000177.0.0.1",
  "127.0x0.0.01",
  "%31%32%37.0.0.1",
  "127%2e0%2e0%2e1",
  "１２７.0.0.1",
  "①②⑦.⓪.⓪.①",
  "127。0。0。1",
  "127．0．0．1",
  "12\u00ad7.0.0.1",
  "0",
  "0.0.0.0",
  "0x0",
  "localhost",
  "LOCALHOST",
  "localhost.",
  "ⓛocalhost",
  "ｌｏｃａｌｈｏｓｔ",
  "loc\u200balhost",
  "loop.test",
  "inside.test",
  "10.0.0.1",
  "10.255.255.255",
  "167772161",
  "012.0.0.1",
  "172.16.0.1",
  "172.31.255.255",
  "192.168.0.1",
  "192.168.257",
  "0xc0a80101",
  "100.64.0.1",
  "169.254.1.1",
  "169.254.169.254",
  "2852039166",
  "0xa9fea9fe",
  "0251.0376.0251.0376",
  "169.254.43518",
  "169.254.169.254.",
  "168.63.129.16",
  "100.100.100.200",
  "metadata.test",
  "192.0.0.192",
  "192.0.2.1",
  "192.88.99.1",
  "198.18.0.1",
  "198.51.100.1",
  "203.0.113.1",
  "224.0.0.1",
  "240.0.0.1",
  "255.255.255.255",
  "4294967295",
  "[::]",
  "[::1]",
  "[0:0:0:0:0:0:0:1]",
  "[0000:0000:0000:0000:0000:0000:0000:0001]",
  "[::127.0.0.1]",
  "[::ffff:127.0.0.1]",
  "[::FFFF:7F00:1]",
  "[0:0:0:0:0:ffff:127.0.0.1]",
  "[::ffff:0:127.0.0.1]",
  "[::ffff:10.0.0.1]",
  "[::ffff:169.254.169.254]",
  "[64:ff9b::127.0.0.1]",
  "[64:ff9b::a9fe:a9fe]",
  "[64:ff9b:1::10.0.0.1]",
  "[2002:7f00:1::]",
  "[2002:a9fe:a9fe::1]",
  "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
  "[2001:db8::1]",
  "[3fff::1]",
  "[5f00::1]",
  "[100::1]",
  "[fc00::1]",
  "[fd00:ec2::254]",
  "[fe80::1]",
  "[fec0::1]",
  "[ff02::1]",
  "[4000::1]"
]

/** What is no URL of ours at all. */
const noUrl = [
  "http://[fe80::1%25eth0]/",
  "http://[fe80::1%eth0]/",
  "http://[::1].example.com/",
  "http://[127.0.0.1]/",
  "http://256.0.0.1/",
  "http://0x100000000/",
  "http://1.2.3.4.5/",
  "http://127.0.0.1%00.example.com/",
  "http://127.0.0.1%2f.example.com/",
  "http://example.com@127.0.0.1/",
  "http://example.com:80@127.0.0.1/",
  "http://127.0.0.1#@example.com/",
  "http://example.com\\@127.0.0.1/",
  "http://127.0.0.1\t/",
  "http://127.0.0.1\r\nHost: example.com/",
  "http:127.0.0.1/",
  "http:///127.0.0.1/",
  "//127.0.0.1/",
  "file:///etc/passwd",
  "gopher://127.0.0.1/",
  "ftp://127.0.0.1/",
  "unix:/var/run/docker.sock"
]

const strict = Layer.unwrap(Effect.gen(function*() {
  const names = yield* NameServer
  for (const name of ["localhost", "localhost.", "loop.test"]) names.set(name, ["127.0.0.1", "::1"])
  names.set("inside.test", ["10.0.0.1", "::ffff:192.168.0.1", "fd00::1"])
  names.set("metadata.test", ["169.254.169.254"])
  names.set("allowed.test", ["127.0.0.1"])
  const { port } = yield* Receiver
  return RunningService.layer({
    egress: { allow: parseEgressAllow("allowed.test")!, lookup: names.lookup },
    alertUrl: `http://127.0.0.1:${port}/alerts`
  })
})).pipe(
  Layer.provideMerge(Layer.merge(NameServer.layer, Receiver.layer)),
  Layer.provideMerge(Layer.succeed(References.MinimumLogLevel, "Fatal"))
)

it.layer(strict, { excludeTestServices: true })("a service that may reach public addresses and one name", (it) => {
  const post = (url: string) =>
    Effect.flatMap(
      RunningService,
      (service) => service.ask("POST", "/webhooks", { name: "hook", table_name: "orders", events: ["INSERT"], url })
    )

  const test = (id: string) =>
    Effect.flatMap(
      RunningService,
      (service) => Effect.map(service.ask("POST", `/webhooks/${id}/test`), (answer) => JSON.parse(answer.text))
    )

  /** Past the API, as it would be if that had let the URL through. */
  const write = (id: string, url: string) =>
    Effect.flatMap(Application, (sql) => sql`UPDATE truss.webhooks SET url = ${url} WHERE id = ${id}::text::uuid`)

  const received = Effect.map(Receiver, ({ requests }) => requests.length)

  it.effect("takes no name that means this machine, though nothing answers for it", () =>
    Effect.gen(function*() {
      for (const host of ["api.localhost", "API.LOCALHOST."]) {
        assert.strictEqual((yield* post(`http://${host}/`)).status, 422, host)
      }
    }))

  it.effect("takes no URL that leads elsewhere, and sends nothing to one that it has all the same", () =>
    Effect.gen(function*() {
      yield* run("CREATE TABLE orders (id int PRIMARY KEY)")
      const service = yield* RunningService
      const { port } = yield* Receiver
      const webhook = yield* service.create({ table_name: "orders", url: `http://allowed.test:${port}/` })
      for (const host of disguised) {
        const url = `http://${host}:${port}/inside`
        const refused = yield* post(url)
        assert.strictEqual(refused.status, 422, `${url} ${refused.text}`)
        const problem = JSON.parse(refused.text)
        assert.strictEqual(problem.type, "urn:truss:problem:url-not-allowed")
        assert.match(problem.detail, /must not be reached: .*\(.+\)/, url)
        assert.strictEqual(problem.errors[0].path, "url")
        assert.strictEqual((yield* post(`https://${host}/`)).status, 422, url)
        assert.strictEqual((yield* service.ask("PATCH", `/webhooks/${webhook.id}`, { url })).status, 422, url)
        assert.strictEqual((yield* service.get(webhook.id)).url, webhook.url)

        yield* write(webhook.id, url)
        const result = yield* test(webhook.id)
        assert.deepInclude(result, { status_code: null, response_body: null, error: "blocked_address" }, url)
        yield* write(webhook.id, webhook.url)
      }
      assert.strictEqual(yield* received, 0)
      assert.strictEqual((yield* test(webhook.id)).status_code, 200)
    }))

  it.effect("answers 400 for what is no URL", () =>
    Effect.gen(function*() {
      for (const url of noUrl) {
        const answer = yield* post(url)
        assert.strictEqual(answer.status, 400, `${url} ${answer.text}`)
        assert.strictEqual(JSON.parse(answer.text).errors[0].path, "url")
      }
    }))

  it.effect("tells what is wrong with the address, and not what a name leads to", () =>
    Effect.gen(function*() {
      const detail = (url: string) => Effect.map(post(url), ({ text }) => JSON.parse(text).detail)
      assert.strictEqual(
        yield* detail("http://0x7f.1/"),
        "127.0.0.1 must not be reached: loopback (127.0.0.0/8, RFC 1122). " +
          "TRUSS_EGRESS_ALLOW lists what may be reached besides public addresses."
      )
      const named = yield* detail("http://inside.test/")
      assert.include(named, "inside.test leads only to addresses that must not be reached: private use (10.0.0.0/8")
      assert.notInclude(named, "10.0.0.1")
    }))

  it.effect("takes a name that leads to a public address too, that does not resolve, or not in time", () =>
    Effect.gen(function*() {
      const names = yield* NameServer
      names.set("mixed.test", ["10.0.0.1", "93.184.216.34"])
      names.set("silent.test", "silence")
      assert.strictEqual((yield* post("http://mixed.test/")).status, 201)
      assert.strictEqual((yield* post("http://nowhere.test/")).status, 201)
      const [took, silent] = yield* Effect.timed(post("http://silent.test/"))
      assert.strictEqual(silent.status, 201)
      assert.isBelow(Duration.toMillis(took), 10_000)
    }))

  it.effect("goes nowhere when a name leads inside by the time that there is something to send", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const names = yield* NameServer
      const receiver = yield* Receiver
      yield* run("CREATE TABLE rebound (id int)")
      const before = yield* received
      names.set("rebound.test", ["93.184.216.34"])
      const webhook = yield* service.create({
        table_name: "rebound",
        url: `http://rebound.test:${receiver.port}/rebound`,
        max_attempts: 2
      })
      assert.isAbove(names.asked("rebound.test"), 0)
      names.set("rebound.test", ["127.0.0.1", "::1"])
      yield* run("INSERT INTO rebound VALUES (1)")
      const [entry] = yield* service.log(webhook.id, 1)
      assert.deepInclude(entry, {
        status_code: null,
        response_body: null,
        error: "blocked_address",
        outcome: "retrying"
      })
      const replayed = yield* service.ask("POST", `/webhooks/${webhook.id}/replay/${entry!.id}`)
      assert.deepInclude(JSON.parse(replayed.text), {
        status_code: null,
        error: "blocked_address",
        replay_of: entry!.id
      })
      assert.strictEqual((yield* test(webhook.id)).error, "blocked_address")
      assert.strictEqual(yield* received, before)
    }))

  it.effect("follows no redirect inside", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      yield* run("CREATE TABLE redirected (id int)")
      for (const status of [301, 302, 303, 307, 308]) {
        const path = `/redirect-${status}`
        const location = `http://127.0.0.1:${receiver.port}/inside-${status}`
        receiver.respond(path, () => ({ status, headers: { location } }))
        const webhook = yield* service.create({
          table_name: "redirected",
          url: `http://allowed.test:${receiver.port}${path}`
        })
        assert.deepInclude(yield* test(webhook.id), { status_code: status, error: "redirect" })
        assert.lengthOf(receiver.at(path), 1)
        assert.lengthOf(receiver.at(`/inside-${status}`), 0)
      }
    }))

  it.effect("sends no alert inside either", () =>
    Effect.gen(function*() {
      const sql = yield* Application
      const receiver = yield* Receiver
      yield* sql`UPDATE truss.cursors SET fail_count = 10, opened_at = clock_timestamp() - interval '1 hour'`
      const { noticeCircuits, sendDue } = yield* Alerts
      yield* noticeCircuits
      yield* sendDue
      assert.isNotEmpty(yield* sql`SELECT FROM truss.alerts WHERE attempt > 1`)
      assert.lengthOf(receiver.at("/alerts"), 0)
    }))
})
