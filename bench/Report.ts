import { Effect } from "effect"
import { mkdir, writeFile } from "node:fs/promises"
import { dirname } from "node:path"
import { attempt } from "./BenchError.ts"
import type { Spread } from "./Statistics.ts"

/** Rows under a header; the first column is text, the others are aligned to the right. */
export interface Table {
  readonly title: string
  readonly header: ReadonlyArray<string>
  readonly rows: ReadonlyArray<ReadonlyArray<string>>
}

/** A line on the terminal. */
export const line = (text = "") => Effect.sync(() => void process.stdout.write(`${text}\n`))

/** What is going on, for whoever waits; not part of the results. */
export const progress = (text: string) => Effect.sync(() => void process.stderr.write(`  ${text}\n`))

export const integer = (value: number): string => Math.round(value).toLocaleString("en-US")

export const fixed = (digits: number) => (value: number): string => value.toFixed(digits)

/** `median (min–max)`, or the one value. */
export const range = ({ max, median, min }: Spread, format: (value: number) => string = integer): string =>
  min === max ? format(median) : `${format(median)} (${format(min)}–${format(max)})`

export const printTable = ({ header, rows, title }: Table) => {
  const all = [header, ...rows]
  const widths = header.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)))
  const format = (row: ReadonlyArray<string>) =>
    widths
      .map((width, column) => column === 0 ? (row[column] ?? "").padEnd(width) : (row[column] ?? "").padStart(width))
      .join("   ").trimEnd()
  const rule = widths.map((width) => "─".repeat(width)).join("───")
  return line(`\n${title}\n${rule}\n${format(header)}\n${rule}\n${rows.map(format).join("\n")}\n${rule}`)
}

export const writeJson = (path: string, value: unknown) =>
  attempt(`cannot write ${path}`, async () => {
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, `${JSON.stringify(value, null, 2)}\n`)
  })
