/** The changes of a table as a loop: to ask for the next one says that the one before is dealt with. */
import { type Change, createTrussWebhooks } from "truss-webhooks"

interface Order {
  readonly id: number
  readonly note: string | null
}

const truss = createTrussWebhooks({
  databaseUrl: process.env["DATABASE_URL"] ?? "",
  encryptionKey: process.env["TRUSS_ENCRYPTION_KEY"] ?? ""
})

process.once("SIGTERM", () => void truss.stop())
await truss.start()

// Beside the loop, a function: what it rejects is tried again.
await truss.subscribe<Change<Order>>(
  {
    name: "large orders",
    table_name: "orders",
    events: ["INSERT"],
    filter: [{ column: "id", op: "gte", value: 1000 }]
  },
  async ({ row }, { id }) => console.log("large", row?.id, id)
)

for await (
  const { change, id } of truss.events<Change<Order>>({ name: "orders", table_name: "orders", events: ["INSERT"] })
) {
  console.log(change.event, change.row?.id, change.row?.note, id)
}
console.log("stopped")
