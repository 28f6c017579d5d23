import { randomUUID } from "node:crypto"
import { readFileSync, readlinkSync } from "node:fs"

/** Where process numbers mean the same: this boot of the machine and this container; unique where that cannot be told. */
const placeOf = (): string => {
  try {
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()
    return `${boot}/${readlinkSync("/proc/self/ns/pid")}`
  } catch {
    return randomUUID()
  }
}

const place = placeOf()

/** Names this process among all that were and will be. */
export const ownIdentity = `${place} ${process.pid} ${randomUUID()}`

/** Whether the process is known to have ended: only where its number means the same to us. */
export const hasEnded = (identity: string): boolean => {
  const [itsPlace, pid, id] = identity.split(" ")
  if (itsPlace !== place || pid === undefined) return false
  if (Number(pid) === process.pid) return id !== ownIdentity.split(" ")[2]
  try {
    process.kill(Number(pid), 0)
    return false
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "ESRCH"
  }
}
