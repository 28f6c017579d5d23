import { createHmac } from "node:crypto"

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
const key = Buffer.from(secret)
const standardKey = Buffer.from(secret.slice(6), "base64")

/** The headers of the nth request as the service sends them, with both of its signatures when `sign`. */
export const headersFor = (body: string, n: number, sign: boolean) => {
  const headers: Record<string, string> = {
    "User-Agent": "Truss-Webhooks/0.0.0",
    "Content-Type": "application/json",
    "Content-Length": String(Buffer.byteLength(body))
  }
  if (!sign) return headers
  const id = `evt_${n}`
  const timestamp = Math.floor(Date.now() / 1000)
  headers["X-Truss-Event"] = "INSERT"
  headers["X-Truss-Delivery"] = `dlv_${n}`
  headers["webhook-id"] = id
  headers["webhook-timestamp"] = String(timestamp)
  headers["X-Truss-Signature"] = createHmac("sha256", key).update(body).digest("hex")
  headers["webhook-signature"] = "v1," +
    createHmac("sha256", standardKey).update(`${id}.${timestamp}.`).update(body).digest("base64")
  return headers
}
