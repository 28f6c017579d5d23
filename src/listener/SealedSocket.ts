import { Effect } from "effect"
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto"
import type { Socket } from "node:net"
import { Duplex } from "node:stream"

const nonceBytes = 32
const keyBytes = 32
const tagBytes = 16
const headBytes = 4

/** A frame's plain text at most. */
const frameBytes = 65_536

/** What was to be said when the peer does not know the token, or is no runner at all. */
export class NotARunner extends Error {
  override readonly name = "NotARunner"
}

const algorithm = "aes-256-gcm"

/** Each frame of a direction has the next number as its nonce; no key seals two streams. */
const numbered = (count: number): Buffer => {
  const nonce = Buffer.alloc(12)
  nonce.writeUIntBE(count, 6, 6)
  return nonce
}

/**
 * A connection between two runners that know the same token. Both send 32 random bytes; from those and the token come a
 * key for each direction (HKDF, SHA-256), and all that follows is sealed by AES-256-GCM in numbered frames: a length,
 * the text, its tag. The first frame of each side is empty and proves that it knows the token. Nothing is told to, or
 * taken from, a peer before its proof; what is recorded cannot be played back, changed, reordered or read without the
 * token. Whoever gets the token later can read what was recorded: messages hold ids of webhooks, nothing else.
 */
class SealedSocket extends Duplex {
  private received: Buffer = Buffer.alloc(0)
  private sealKey: Buffer | undefined
  private openKey: Buffer | undefined
  private sealed = 0
  private opened = 0
  private readonly nonce = randomBytes(nonceBytes)
  private readonly raw: Socket
  private readonly token: string
  private readonly side: "client" | "server"
  private readonly onProved: () => void

  constructor(raw: Socket, token: string, side: "client" | "server", onProved: () => void) {
    super({ allowHalfOpen: false })
    this.raw = raw
    this.token = token
    this.side = side
    this.onProved = onProved
    raw.setNoDelay(true)
    raw.on("data", (chunk: Buffer) => this.receive(chunk))
    raw.on("end", () => this.push(null))
    raw.on("error", (error) => this.destroy(error))
    raw.on("close", () => this.destroy())
    raw.write(this.nonce)
    raw.resume()
  }

  private receive(chunk: Buffer) {
    this.received = this.received.length === 0 ? chunk : Buffer.concat([this.received, chunk])
    try {
      if (this.openKey === undefined && this.received.length >= nonceBytes) this.agree()
      while (this.openKey !== undefined && this.openNext(this.openKey)) {
        // One frame after the other.
      }
    } catch {
      this.destroy(new NotARunner("the peer does not know the token of this cluster"))
    }
  }

  private agree() {
    const theirs = this.received.subarray(0, nonceBytes)
    this.received = this.received.subarray(nonceBytes)
    const salt = this.side === "client" ? [this.nonce, theirs] : [theirs, this.nonce]
    const keys = Buffer.from(hkdfSync("sha256", this.token, Buffer.concat(salt), "truss runners 1", 2 * keyBytes))
    const [client, server] = [keys.subarray(0, keyBytes), keys.subarray(keyBytes)]
    this.sealKey = this.side === "client" ? client : server
    this.openKey = this.side === "client" ? server : client
    this.raw.write(this.seal(Buffer.alloc(0)))
  }

  private seal(text: Buffer): Buffer {
    const head = Buffer.alloc(headBytes)
    head.writeUInt32BE(text.length)
    const cipher = createCipheriv(algorithm, this.sealKey!, numbered(this.sealed++)).setAAD(head)
    return Buffer.concat([head, cipher.update(text), cipher.final(), cipher.getAuthTag()])
  }

  /** Whether there was a whole frame. */
  private openNext(key: Buffer): boolean {
    if (this.received.length < headBytes) return false
    const head = this.received.subarray(0, headBytes)
    const length = head.readUInt32BE()
    if (length > (this.opened === 0 ? 0 : frameBytes)) throw new NotARunner("no frame")
    const end = headBytes + length
    if (this.received.length < end + tagBytes) return false
    const decipher = createDecipheriv(algorithm, key, numbered(this.opened), { authTagLength: tagBytes })
      .setAAD(head).setAuthTag(this.received.subarray(end, end + tagBytes))
    const text = Buffer.concat([decipher.update(this.received.subarray(headBytes, end)), decipher.final()])
    this.received = this.received.subarray(end + tagBytes)
    if (this.opened++ === 0) this.onProved()
    else if (!this.push(text)) this.raw.pause()
    return true
  }

  override _read() {
    this.raw.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void) {
    const frames: Array<Buffer> = []
    for (let at = 0; at < chunk.length; at += frameBytes) frames.push(this.seal(chunk.subarray(at, at + frameBytes)))
    this.raw.write(Buffer.concat(frames), done)
  }

  override _final(done: (error?: Error | null) => void) {
    this.raw.end(() => done())
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void) {
    this.raw.destroy()
    done(error)
  }
}

/** For a peer to prove itself. */
const patienceMs = 2_000

/** Waits until the peer has proved that it knows the token; fails, and closes the connection, if it does not. */
export const sealSocket = (raw: Socket, token: string, side: "client" | "server"): Effect.Effect<Duplex, Error> =>
  Effect.callback((resume) => {
    const timer = setTimeout(() => socket.destroy(new NotARunner("the peer did not prove itself in time")), patienceMs)
    const socket = new SealedSocket(raw, token, side, () => {
      clearTimeout(timer)
      socket.off("error", failed)
      socket.off("close", closed)
      resume(Effect.succeed(socket))
    })
    const failed = (error: Error) => {
      clearTimeout(timer)
      resume(Effect.fail(error))
    }
    const closed = () => failed(new NotARunner("the peer closed the connection"))
    socket.on("error", failed)
    socket.on("close", closed)
    // Whatever happens later has a reader of its own.
    socket.on("error", () => {})
    return Effect.sync(() => socket.destroy())
  })
