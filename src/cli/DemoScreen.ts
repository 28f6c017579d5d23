import { Clock, Console, Duration, Effect } from "effect"
import { TerminalCapabilities } from "effect/cli"
import type { Arrival, Body, Order } from "./DemoReceiver.ts"

const shortMs = (ms: number): string =>
  ms < 1
    ? "under 1 ms"
    : ms < 100
    ? `${ms.toFixed(1)} ms`
    : ms < 1000
    ? `${ms.toFixed(0)} ms`
    : `${(ms / 1000).toFixed(1)} s`

const show = (order: Order | null): string =>
  order === null ? "" : `order ${order.id}: ${order.customer}, ${order.total.toFixed(2)}, ${order.status}`

const describe = ({ event, old_row, row }: Body): string => {
  if (event === "UPDATE" && row !== null && old_row !== null && row.status !== old_row.status) {
    return `order ${row.id}: ${old_row.status} to ${row.status}`
  }
  return show(row ?? old_row)
}

/** What the demo prints: plain lines in columns, in colour where the terminal has it and wants it. */
export const makeScreen = Effect.gen(function*() {
  const { canColor } = yield* TerminalCapabilities.TerminalCapabilities
  const paint = (code: number) => (text: string) => canColor ? `\x1b[${code}m${text}\x1b[0m` : text
  const bold = paint(1)
  const dim = paint(2)
  const red = paint(31)
  const green = paint(32)
  const yellow = paint(33)
  const width = Math.max(60, Math.min(process.stdout.columns ?? 160, 160))

  const stamped = Effect.fnUntraced(function*(kind: string, text: string) {
    const now = new Date(yield* Clock.currentTimeMillis)
    yield* Console.log(`  ${dim(now.toTimeString().slice(0, 8))}  ${kind}  ${text}`)
  })

  return {
    bold,
    title: (text: string) => Console.log(`\n${bold(text)}\n`),
    /** A part that stands, with what it took. */
    part: (name: string, text: string, took?: Duration.Duration) =>
      Console.log(
        `  ${name.padEnd(12)}${text}${took === undefined ? "" : dim(`  (${shortMs(Duration.toMillis(took))})`)}`
      ),
    text: (text = "") => Console.log(text === "" ? "" : `  ${text}`),
    change: (event: string, text: string) => stamped(bold("change  "), `${event.padEnd(8)}${text}`),
    /** `sinceCommit` in milliseconds. */
    delivery: (arrival: Arrival, sinceCommit: number | undefined, note?: string) => {
      const status = arrival.statusCode < 300
        ? green(String(arrival.statusCode))
        : arrival.statusCode < 500
        ? yellow(String(arrival.statusCode))
        : red(String(arrival.statusCode))
      const signature = arrival.verified ? green("signature verified") : red("signature WRONG")
      const latency = sinceCommit === undefined ? "" : `, ${shortMs(Math.max(0, sinceCommit))} after the commit`
      return stamped(green("delivery"), `${status}     ${signature}${latency}${note === undefined ? "" : `; ${note}`}`)
    },
    /** A change that somebody else made. */
    foreign: (arrival: Arrival) =>
      arrival.body === undefined
        ? Effect.void
        : stamped(bold("change  "), `${arrival.body.event.padEnd(8)}${describe(arrival.body)}`),
    body: (text: string) => {
      const room = width - 24
      return Console.log(`${" ".repeat(22)}${dim(text.length > room ? `${text.slice(0, room - 3)}...` : text)}`)
    }
  }
})

export type Screen = Effect.Success<typeof makeScreen>
