// Photographs every page of the dashboard on the demo's data, for docs/images: `npm run screenshots [-- <folder>]`.
import { PgClient } from "@effect/sql-pg"
import { Effect, Redacted } from "effect"
import { spawn } from "node:child_process"
import { mkdir, writeFile } from "node:fs/promises"
import { createServer } from "node:http"
import { join, resolve } from "node:path"
import { type Browser, chromium, type Page } from "playwright-core"

const root = join(import.meta.dirname, "..")
const folder = resolve(process.argv[2] ?? join(root, "docs/images"))
const patience = 60_000

const say = (line: string) => void process.stderr.write(`${line}\n`)

/** The demo as a process of its own, once it has said where everything is. */
const startDemo = async () => {
  const { BUN_INSTALL: _, DATABASE_URL: __, TRUSS_AUTH: ___, ...env } = process.env
  const child = spawn(process.execPath, ["src/main.ts", "demo", "--port", process.env["PORT"] ?? "8787"], {
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

/** Other people's endpoints, and what they answer until it is changed. */
const startReceivers = async () => {
  const answers = new Map<string, number>()
  const server = createServer((request, response) => {
    request.resume()
    request.on("end", () => {
      const status = answers.get(request.url ?? "") ?? 200
      response.writeHead(status).end(status < 300 ? "thank you" : "the warehouse is closed for stocktaking")
    })
  })
  const lonely = createServer((_request, response) => void response.end())
  const listen = (one: typeof server, port: number) =>
    new Promise<void>((done, failed) => one.once("error", failed).listen(port, "localhost", done))
  await listen(server, 4000)
  await listen(lonely, 4001)
  const end = (one: typeof server) => {
    one.close()
    one.closeAllConnections()
  }
  return {
    url: (name: string) => `http://localhost:4000/${name}`,
    lonelyUrl: "http://localhost:4001/pick-lists",
    answer: (name: string, status: number) => void answers.set(`/${name}`, status),
    leave: () => end(lonely),
    stop: () => end(server)
  }
}
type Receivers = Awaited<ReturnType<typeof startReceivers>>

interface Listed<A> {
  readonly data: ReadonlyArray<A>
}

const api = (base: string) => async <A>(method: string, path: string, body?: object): Promise<A> => {
  const response = await fetch(`${base}/api${path}`, {
    method,
    ...(body !== undefined && { headers: { "content-type": "application/json" }, body: JSON.stringify(body) })
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${text}`)
  return (text === "" ? undefined : JSON.parse(text)) as A
}

/** What happened in the shop in the last hour. */
const past = [
  `INSERT INTO orders (customer, total)
   SELECT (ARRAY['Ada','Grace','Edsger','Barbara','Donald'])[1 + n % 5], n * 1.25 FROM generate_series(1, 240) n`,
  "UPDATE orders SET status = 'paid' WHERE id BETWEEN 20 AND 90",
  "UPDATE orders SET status = 'shipped', total = total + 4.90 WHERE id BETWEEN 20 AND 60",
  "DELETE FROM orders WHERE id BETWEEN 200 AND 210"
]

/** Spreads it over that hour, since it was done in a second. */
const spread = [
  `UPDATE truss.events SET created_at = now() - interval '4 minutes' - age FROM (
     SELECT seq AS of, (1 - cume_dist() OVER (ORDER BY seq)) * interval '54 minutes' AS age FROM truss.events) a
   WHERE seq = of`,
  `UPDATE truss.attempts a SET event_at = e.created_at,
     created_at = e.created_at + interval '3 milliseconds' + (attempt - 1) * interval '5 seconds'
   FROM truss.events e WHERE e.seq = event_seq AND e.slot = event_slot AND e.table_id = a.table_id`
]

/** What happens while some endpoints are not well. */
const present = [
  `INSERT INTO orders (customer, total)
   SELECT (ARRAY['Ada','Grace','Edsger','Barbara','Donald'])[1 + n % 5], n * 2.5 FROM generate_series(41, 80) n`,
  "UPDATE orders SET status = 'shipped', total = total + 4.90 WHERE id BETWEEN 270 AND 280"
]

const change = (databaseUrl: string, statements: ReadonlyArray<string>) =>
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
const prepare = async (base: string, databaseUrl: string, receivers: Receivers) => {
  const ask = api(base)
  const { data } = await ask<Listed<{ readonly id: string }>>("GET", "/webhooks")
  for (const { id } of data) await ask("DELETE", `/webhooks/${id}`)
  const create = (name: string, url: string, more?: object) =>
    ask<{ readonly id: string }>("POST", "/webhooks", {
      name,
      table_name: "orders",
      events: ["INSERT", "UPDATE", "DELETE"],
      url,
      secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
      ...more
    })
  const shop = await create("Warehouse", receivers.url("warehouse"))
  const failing = await create("Invoices", receivers.url("invoices"), { max_attempts: 1 })
  const gone = await create("Old CRM", receivers.url("crm"))
  const lonely = await create("Pick lists", receivers.lonelyUrl)
  await create("Analytics", receivers.url("analytics"), {
    events: ["INSERT"],
    filter: [{ column: "total", op: "gte", value: 100 }]
  })
  await create("Newsletter", receivers.url("newsletter"), { active: false })
  await ask("POST", "/keys", { name: "deploy pipeline", scope: "write" })
  await ask("POST", "/keys", { name: "grafana", scope: "read" })
  interface State {
    readonly active: boolean
    readonly backlog: number
    readonly circuit: string
  }
  const state = (id: string) => ask<State>("GET", `/webhooks/${id}`)
  const logs = (id: string, query: string) =>
    ask<Listed<{ readonly id: string; readonly event_id: string }>>("GET", `/webhooks/${id}/logs?${query}`)
  const isDelivered = async () => {
    const found = await Promise.all([shop, failing, gone, lonely].map(async ({ id }) => (await state(id)).backlog))
    return found.every((backlog) => backlog === 0) && (await logs(shop.id, "event_type=DELETE&limit=1")).data.length > 0
  }
  await change(databaseUrl, past)
  await until("the past is delivered", isDelivered)
  await change(databaseUrl, spread)
  receivers.answer("invoices", 503)
  receivers.answer("crm", 410)
  receivers.leave()
  await change(databaseUrl, present)
  await until("the failing one fails", async () => (await state(failing.id)).circuit !== "closed")
  await until("the one that is gone is disabled", async () => !(await state(gone.id)).active)
  await until("what is out of reach is tried", async () => (await state(lonely.id)).circuit !== "closed")
  const failed = await logs(failing.id, "outcome=failed&limit=1")
  const updates = await logs(shop.id, "event_type=UPDATE&limit=1")
  return { shop: shop.id, failing: failing.id, failed: failed.data[0]!, update: updates.data[0]! }
}

type Scene = Awaited<ReturnType<typeof prepare>>

/** Every page: its name, its address, what is there when it is, and what is done first. */
const pagesOf = ({ failed, failing, shop, update }: Scene): ReadonlyArray<
  readonly [name: string, path: string, text: string, act?: (page: Page) => Promise<void>]
> => [
  ["overview", "/", "Needs attention"],
  ["webhooks", "/webhooks", "Warehouse"],
  ["new-webhook", "/webhooks/new", "What to send", async (page) => {
    await page.getByLabel("Table", { exact: true }).fill("orders")
    await page.getByRole("option").first().waitFor()
    await page.keyboard.press("Enter")
    await page.getByRole("button", { name: "Add a condition" }).click()
    await page.getByLabel("Condition 1: column").selectOption("status")
    await page.getByLabel("Condition 1: value").fill("shipped")
    await page.getByText("The newest of them").waitFor()
  }],
  ["webhook", `/webhooks/${shop}`, "200 OK"],
  ["failing-webhook", `/webhooks/${failing}`, "Replay failed since"],
  ["delivery", `/webhooks/${shop}?delivery=${update.id}`, "Attempts at this event"],
  ["failed-delivery", `/webhooks/${failing}?delivery=${failed.id}`, "Attempts at this event"],
  ["test", `/webhooks/${shop}`, "200 OK", async (page) => {
    await page.getByRole("button", { name: "Send test" }).click()
    await page.getByRole("dialog").getByText("See what was sent").waitFor()
  }],
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

/** The last one only of what the guide shows so: all pictures together stay below 1.5 MB. */
const looks = [
  ["desktop-light", 1280, "light", /./],
  ["desktop-dark", 1280, "dark", /./],
  ["phone-light", 360, "light", /./],
  ["phone-dark", 360, "dark", /^(?:overview|delivery)$/]
] as const

const heightOf = (page: Page) =>
  page.evaluate(() =>
    Math.ceil(document.querySelector("header")!.offsetHeight + document.querySelector("main")!.offsetHeight)
  )

/** As WebP, a third of the size of PNG. */
const save = async (page: Page, path: string) => {
  const session = await page.context().newCDPSession(page)
  const { data } = await session.send("Page.captureScreenshot", { format: "webp", quality: 60 })
  await writeFile(path, Buffer.from(data, "base64"))
}

const photograph = async (browser: Browser, base: string, scene: Scene) => {
  for (const [look, width, colorScheme, which] of looks) {
    const context = await browser.newContext({ viewport: { width, height: 844 }, colorScheme })
    for (const [name, path, text, act] of pagesOf(scene).filter(([name]) => which.test(name))) {
      const page = await context.newPage()
      await page.goto(`${base}${path}`)
      await page.getByText(text).first().waitFor()
      await act?.(page)
      const isWhole = await page.getByRole("dialog").count() === 0 && name !== "verify"
      // What is not in view is not loaded.
      if (isWhole) await page.setViewportSize({ width, height: 2_400 })
      await page.waitForFunction(() =>
        [...document.querySelectorAll(".skeleton")].every((one) => one.getBoundingClientRect().top > innerHeight)
      )
      if (isWhole) await page.setViewportSize({ width, height: await heightOf(page) })
      await save(page, join(folder, `${name}-${look}.webp`))
      await page.close()
    }
    await context.close()
  }
}

await mkdir(folder, { recursive: true })
const demo = await startDemo()
const receivers = await startReceivers()
const browser = await chromium.launch({
  executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu"]
})
try {
  await photograph(browser, demo.url, await prepare(demo.url, demo.databaseUrl, receivers))
  say(`The pictures are in ${folder}`)
} finally {
  await browser.close()
  await demo.stop()
  receivers.stop()
}
process.exit()
