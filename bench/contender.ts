/** One contender: `node contender.ts NAME DATABASE_URL TARGET_URL` delivers until SIGTERM, and says when it is ready. */
import { Agent, request } from "undici"
import { contenders } from "./contenders/Contenders.ts"
import { inFlight } from "./RowBurst.ts"
import { headersFor } from "./SignedHeaders.ts"

const [name = "", databaseUrl = "", url = ""] = process.argv.slice(2)

const dispatcher = new Agent({ connections: inFlight, pipelining: 1 })
let n = 0

const deliver = async (body: string) => {
  const response = await request(url, { method: "POST", dispatcher, body, headers: headersFor(body, n++, true) })
  await response.body.dump()
  if (response.statusCode !== 200) throw new Error(`the endpoint answered ${response.statusCode}`)
}

const contender = contenders.find((one) => one.name === name)
if (contender === undefined) throw new Error(`there is no contender ${name}`)
const { close } = await contender.start(databaseUrl, deliver)

// Ctrl-C reaches the whole group; this one ends when it is told to, or with the benchmark.
process.on("SIGINT", () => {})
process.on("disconnect", () => process.exit())
process.on("SIGTERM", () => void close().finally(() => process.exit()))
process.send?.("ready")
