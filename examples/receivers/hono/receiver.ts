import { serve } from "@hono/node-server"
import { Hono } from "hono"
import { bodyLimit } from "hono/body-limit"
import { VerificationError, verifyStandard } from "truss-webhooks/verify"

const secret = process.env["SECRET"] ?? ""
const app = new Hono()

app.post("/", bodyLimit({ maxSize: 2 * 1024 * 1024 }), async (c) => {
  try {
    const body = await c.req.arrayBuffer()
    const change = await verifyStandard({ body, headers: c.req.raw.headers, secret })
    // The same event may come twice: keep the id with what you do, and do nothing the second time.
    console.log(c.req.header("webhook-id"), change.event, change.table, change.row ?? change.old_row)
    return c.body(null, 204)
  } catch (error) {
    if (!(error instanceof VerificationError)) throw error
    console.error(error.message)
    return c.body(null, 401)
  }
})

// On Bun, Deno and Cloudflare Workers: export default app
serve({ fetch: app.fetch, hostname: "127.0.0.1", port: Number(process.env["PORT"] ?? 3000) })
