import { Stream } from "effect"

/** One event of a stream of server-sent events: its fields by name, `data` joined, whatever the names are. */
export type StreamEvent = Readonly<Record<string, string>>

type Building = Record<string, string>

const add = (building: Building, line: string): Building => {
  const colon = line.indexOf(":")
  if (colon === 0) return building
  const name = colon < 0 ? line : line.slice(0, colon)
  const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "")
  const before = building[name]
  return { ...building, [name]: name === "data" && before !== undefined ? `${before}\n${value}` : value }
}

/**
 * The events of a stream's lines (https://html.spec.whatwg.org/multipage/server-sent-events.html), also those that only
 * have an `id`, and with fields that no standard names. What is cut off at the end is no event.
 */
export const streamEvents = <E, R>(lines: Stream.Stream<string, E, R>): Stream.Stream<StreamEvent, E, R> =>
  Stream.mapAccum(lines, (): Building => ({}), (building, line) =>
    line === ""
      ? [{}, Object.keys(building).length === 0 ? [] : [building]] as const
      : [add(building, line), []] as const)
