import { createTrussWebhooks } from "truss-webhooks"

const truss = createTrussWebhooks({
  databaseUrl: process.env["DATABASE_URL"] ?? "",
  encryptionKey: process.env["TRUSS_ENCRYPTION_KEY"] ?? "",
  // Only for endpoints on private networks.
  egressAllow: process.env["EGRESS_ALLOW"]
})

process.once("SIGTERM", () => void truss.stop())
await truss.start()

// Every process may do this whenever it starts: nothing is written when nothing differs.
const webhook = await truss.register({
  name: "new orders",
  table_name: "orders",
  events: ["INSERT"],
  url: process.env["ENDPOINT"] ?? "",
  secret: process.env["SECRET"] ?? ""
})
console.log("ready", webhook.id)

for await (const { attempt, event_type, outcome, status_code } of truss.outcomes(webhook.id)) {
  console.log(event_type, "attempt", attempt, outcome, status_code)
}
console.log("stopped")
