import { createServer } from "node:http"
import { VerificationError, verifyStandard } from "truss-webhooks/verify"

const secret = process.env["SECRET"] ?? ""
const maxBytes = 2 * 1024 * 1024

createServer(async (request, response) => {
  const chunks: Array<Buffer> = []
  let size = 0
  for await (const chunk of request) {
    size += chunk.length
    if (size > maxBytes) return void response.writeHead(413, { connection: "close" }).end()
    chunks.push(chunk)
  }
  try {
    const change = await verifyStandard({ body: Buffer.concat(chunks), headers: request.headers, secret })
    // The same event may come twice: keep the id with what you do, and do nothing the second time.
    console.log(request.headers["webhook-id"], change.event, change.table, change.row ?? change.old_row)
    response.writeHead(204).end()
  } catch (error) {
    if (error instanceof VerificationError) console.error(error.message)
    else console.error(error)
    response.writeHead(error instanceof VerificationError ? 401 : 500).end()
  }
}).listen(Number(process.env["PORT"] ?? 3000), "127.0.0.1")
