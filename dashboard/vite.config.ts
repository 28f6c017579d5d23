import tailwindcss from "@tailwindcss/vite"
import { readdir, readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { promisify } from "node:util"
import { brotliCompress, constants, gzip } from "node:zlib"
import { defineConfig, type Plugin } from "vite"

/** Writes each file's gzip and brotli beside it, so that the service compresses nothing. */
const precompress = (folder: string): Plugin => ({
  name: "precompress",
  apply: "build",
  async closeBundle() {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true })
    const files = entries.filter((entry) => entry.isFile() && /\.(?:html|js|css|svg)$/.test(entry.name))
    await Promise.all(files.map(async (entry) => {
      const path = join(entry.parentPath, entry.name)
      const bytes = await readFile(path)
      const options = { params: { [constants.BROTLI_PARAM_QUALITY]: 10 } }
      await writeFile(`${path}.gz`, await promisify(gzip)(bytes, { level: 9 }))
      await writeFile(`${path}.br`, await promisify(brotliCompress)(bytes, options))
    }))
  }
})

const here = import.meta.dirname

export default defineConfig({
  root: here,
  plugins: [tailwindcss(), precompress(join(here, "dist"))],
  build: {
    // Browsers of the last two years: light-dark(), oklch and the source text of JSON numbers.
    target: ["chrome120", "firefox128", "safari17.4"],
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 1_000
  },
  server: {
    proxy: { "^/(?:api|health|docs|openapi\\.json)": "http://localhost:8787" }
  }
})
