import express from "express"
import { VerificationError, verifyStandard } from "truss-webhooks/verify"

const secret = process.env["SECRET"] ?? ""
const app = express()

// The bytes as they came: express.json() must not run before, not by app.use() either.
app.post("/", express.raw({ type: "application/json", limit: "2mb" }), async (request, response) => {
  try {
    const change = await verifyStandard({ body: request.body, headers: request.headers, secret })
    // The same event may come twice: keep the id with what you do, and do nothing the second time.
    console.log(request.get("webhook-id"), change.event, change.table, change.row ?? change.old_row)
    response.sendStatus(204)
  } catch (error) {
    if (!(error instanceof VerificationError)) throw error
    console.error(error.message)
    response.sendStatus(401)
  }
})

app.listen(Number(process.env["PORT"] ?? 3000), "127.0.0.1")
