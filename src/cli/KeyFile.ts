import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import { type FileHandle, link, mkdir, open, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { generateEncryptionKey, parseEncryptionKeys } from "../services/EncryptionKey.ts"
import { CommandFailed } from "./Failure.ts"

const isCode = (error: unknown, code: string) => error instanceof Error && "code" in error && error.code === code

const failed = (line: string) => new CommandFailed({ lines: [line] })

const io = <A>(path: string, evaluate: () => Promise<A>) =>
  Effect.tryPromise({
    try: evaluate,
    catch: (cause) =>
      failed(`TRUSS_DATA_DIR: ${path} cannot be used: ${cause instanceof Error ? cause.message : String(cause)}`)
  })

/** The file's text and its mode; `undefined` where there is no file. */
const read = async (path: string) => {
  let file: FileHandle
  try {
    file = await open(path, "r")
  } catch (error) {
    if (isCode(error, "ENOENT")) return undefined
    throw error
  }
  try {
    return { mode: (await file.stat()).mode, text: await file.readFile("utf8") }
  } finally {
    await file.close()
  }
}

const sync = async (folder: string) => {
  // Windows opens no folders.
  if (process.platform === "win32") return
  const handle = await open(folder, "r")
  await handle.sync().finally(() => handle.close())
}

/** Makes the file, complete from its first moment, and on the disk before it is used; whoever was faster is left alone. */
const create = async (folder: string, path: string) => {
  await mkdir(folder, { recursive: true })
  const draft = `${path}.${randomUUID()}`
  try {
    await writeFile(draft, `${generateEncryptionKey()}\n`, { mode: 0o600, flag: "wx", flush: true })
    await link(draft, path)
  } catch (error) {
    if (isCode(error, "EEXIST")) return false
    throw error
  } finally {
    await rm(draft, { force: true })
  }
  await sync(folder)
  return true
}

/**
 * The keys in `<dataDir>/encryption.key`, one a line or like the setting, newest first. The file is made on the first
 * start: `made` is its path then.
 */
export const openKeyFile = Effect.fnUntraced(function*(dataDir: string) {
  const path = join(dataDir, "encryption.key")
  const isNew = (yield* io(path, () => read(path))) === undefined && (yield* io(path, () => create(dataDir, path)))
  const file = yield* io(path, () => read(path))
  if (file === undefined) return yield* failed(`TRUSS_DATA_DIR: ${path} was removed while it was read: start again`)
  // Windows has no such modes.
  if (process.platform !== "win32" && (file.mode & 0o077) !== 0) {
    return yield* failed(
      `TRUSS_DATA_DIR: ${path} can be read by other users: make it yours alone (chmod 600 ${path}), ` +
        "and if somebody may have read it, change the key (docs/guide/secrets.md)"
    )
  }
  const keys = parseEncryptionKeys(file.text)
  if (keys === undefined) {
    return yield* failed(
      `TRUSS_DATA_DIR: ${path} does not hold 32 bytes in base64: put the key back from your backup, ` +
        "or see docs/guide/secrets.md for a lost key"
    )
  }
  return { keys, made: isNew ? path : undefined }
})
