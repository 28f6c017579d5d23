// Photographs every page of the dashboard on the demo's data: `npm run screenshots -- <folder>`.
import { PgClient } from "@effect/sql-pg"
import { Effect, Redacted } from "effect"
import { spawn } from "node:child_process"
import { mkdir } from "node:fs/promises"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { type Browser, chromium, type Page } from "playwright-core"

const folder = resolve(process.argv[2] ?? join(tmpdir(), "truss-screenshots"))
const root = join(import.meta.dirname, "..")
const patience = 60_000

const say = (line: string) => void process.stderr.write(`${line}\n`)

/** The demo as a process of its own, once it has said where everything is. */
const startDemo = async () => {
  const { BUN_INSTALL: _, DATABASE_URL: __, TRUSS_AUTH: ___, ...env } = process.env
  const child = spawn(process.execPath, ["src/main.ts", "demo", "--port", "0"], {
    cwd: root,
    env: { ...env, NO_COLOR: "1" },
    stdio: ["ignore", "pipe", "inherit"]
  })
  let output = ""
  const found = await new Promise<readonly [string, string]>((done, failed) => {
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text
      const url = /Dashboard\s+(http:\S+)/.exec(output)?.[1]
      const database = /psql '([^']+)'/.exec(output)?.[1]
      if (url !== undefined && database !== undefined) done([url, database])
    })
    child.once("exit", () => failed(new Error(`the demo ended:\n${output}`)))
  })
  const stop = () =>
    new Promise<void>((done) => {
      child.once("exit", () => done())
      child.kill("SIGTERM")
    })
  return { url: found[0], databaseUrl: found[1], stop }
}

/** Endpoints that answer with the status in their path. */
const startReceiver = async () => {
  const server = createServer((request, response) => {
    request.resume()
    request.on("end", () => {
      const status = Number(request.url?.slice(1))
      response.writeHead(status).end(status < 300 ? "thank you" : "the warehouse is closed for stocktaking")
    })
  })
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done))
  const { port } = server.address() as AddressInfo
  return { url: (status: number) => `http://127.0.0.1:${port}/${status}`, stop: () => server.closeAllConnections() }
}

interface Listed<A> {
  readonly data: ReadonlyArray<A>
}

const api = (base: string) => async <A>(method: string, path: string, body?: object): Promise<A> => {
  const response = await fetch(`${base}/api${path}`, {
    method,
    ...(body !== undefined && { headers: { "content-type": "application/json" }, body: JSON.stringify(body) })
  })
  if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${await response.text()}`)
  return await response.json() as A
}

const statements = [
  `INSERT INTO orders (customer, total)
   SELECT (ARRAY['Ada','Grace','Edsger','Barbara','Donald'])[1 + n % 5], n * 1.25 FROM generate_series(1, 240) n`,
  "UPDATE orders SET status = 'paid' WHERE id BETWEEN 20 AND 90",
  "UPDATE orders SET status = 'shipped', total = total + 4.90 WHERE id BETWEEN 20 AND 60",
  "DELETE FROM orders WHERE id BETWEEN 200 AND 210"
]

const change = (databaseUrl: string) =>
  Effect.runPromise(
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      for (const statement of statements) yield* sql.unsafe(statement)
    }).pipe(Effect.provide(PgClient.layer({ url: Redacted.make(databaseUrl), maxConnections: 1 })))
  )

const until = async (what: string, holds: () => Promise<boolean>) => {
  const deadline = Date.now() + patience
  while (!await holds()) {
    if (Date.now() > deadline) throw new Error(`never came true: ${what}`)
    await new Promise((done) => setTimeout(done, 100))
  }
}

/** Webhooks in all their states, and what they sent. */
const prepare = async (base: string, databaseUrl: string, endpoint: (status: number) => string) => {
  const ask = api(base)
  const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
  const create = (name: string, status: number, more?: object) =>
    ask<{ readonly id: string }>("POST", "/webhooks", {
      name,
      table_name: "orders",
      events: ["INSERT", "UPDATE", "DELETE"],
      url: endpoint(status),
      secret,
      ...more
    })
  const shop = await create("Warehouse", 200)
  const failing = await create("Invoices", 503, { max_attempts: 1 })
  const gone = await create("Old CRM", 410)
  await create("Analytics", 204, { events: ["INSERT"], filter: [{ column: "total", op: "gte", value: 100 }] })
  await create("Newsletter", 200, { active: false })
  await ask("POST", "/keys", { name: "deploy pipeline", scope: "write" })
  await ask("POST", "/keys", { name: "grafana", scope: "read" })
  await change(databaseUrl)
  await until(
    "all is delivered",
    async () => (await ask<{ readonly backlog: number }>("GET", `/webhooks/${shop.id}`)).backlog === 0
  )
  await until(
    "the failing one fails",
    async () => (await ask<{ readonly circuit: string }>("GET", `/webhooks/${failing.id}`)).circuit !== "closed"
  )
  await until(
    "the one that is gone is disabled",
    async () => !(await ask<{ readonly active: boolean }>("GET", `/webhooks/${gone.id}`)).active
  )
  const updates = await ask<Listed<{ readonly id: string; readonly event_id: string }>>(
    "GET",
    `/webhooks/${shop.id}/logs?event_type=UPDATE&limit=1`
  )
  return { shop: shop.id, failing: failing.id, update: updates.data[0]! }
}

type Scene = Awaited<ReturnType<typeof prepare>>

/** Every page: its name, its address, what is there when it is, and what is done first. */
const pagesOf = ({ failing, shop, update }: Scene): ReadonlyArray<
  readonly [name: string, path: string, text: string, act?: (page: Page) => Promise<void>]
> => [
  ["overview", "/", "Needs attention"],
  ["webhooks", "/webhooks", "Warehouse"],
  ["new-webhook", "/webhooks/new", "What to send"],
  ["webhook", `/webhooks/${shop}`, "200 OK"],
  ["failing-webhook", `/webhooks/${failing}`, "Replay failed since"],
  ["delivery", `/webhooks/${shop}?delivery=${update.id}`, "Attempts at this event"],
  ["replay", `/webhooks/${failing}`, "Replay failed since", async (page) => {
    await page.getByRole("button", { name: "Replay failed since" }).click()
    await page.getByText("by the log").waitFor()
  }],
  ["verify", `/webhooks/${shop}`, "200 OK", async (page) => {
    await page.getByText("Verify the signature").click()
    await page.getByRole("region", { name: "Code" }).scrollIntoViewIfNeeded()
  }],
  ["event", `/events/${update.event_id}`, "What became of it"],
  ["settings", "/settings", "grafana"]
]

const looks = [
  ["desktop-light", 1280, "light"],
  ["desktop-dark", 1280, "dark"],
  ["phone-light", 390, "light"],
  ["phone-dark", 390, "dark"]
] as const

const photograph = async (browser: Browser, base: string, scene: Scene) => {
  for (const [look, width, colorScheme] of looks) {
    const context = await browser.newContext({ viewport: { width, height: 844 }, colorScheme })
    for (const [name, path, text, act] of pagesOf(scene)) {
      const page = await context.newPage()
      await page.goto(`${base}${path}`)
      await page.getByText(text).first().waitFor()
      await act?.(page)
      await page.waitForFunction(() =>
        [...document.querySelectorAll(".skeleton")].every((one) => one.getBoundingClientRect().top > innerHeight)
      )
      const hasPanel = await page.getByRole("dialog").count() > 0
      await page.screenshot({ path: join(folder, `${name}-${look}.png`), fullPage: act === undefined && !hasPanel })
      await page.close()
    }
    await context.close()
  }
}

await mkdir(folder, { recursive: true })
const demo = await startDemo()
const receiver = await startReceiver()
const browser = await chromium.launch({
  executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu"]
})
try {
  await photograph(browser, demo.url, await prepare(demo.url, demo.databaseUrl, receiver.url))
  say(`The pictures are in ${folder}`)
} finally {
  await browser.close()
  await demo.stop()
  receiver.stop()
}
process.exit()
