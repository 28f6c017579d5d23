import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"

const prepare = fileURLToPath(new URL("../../dashboard/prepare.mjs", import.meta.url))

/** The dashboard as it is in the source: built once a run, and only when something changed. */
export default async function setup() {
  await promisify(execFile)(process.execPath, [prepare, "--strict"])
}
