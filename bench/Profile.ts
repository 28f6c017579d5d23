import { Effect } from "effect"
import { readdir, readFile, stat } from "node:fs/promises"
import { join } from "node:path"
import { attempt } from "./BenchError.ts"
import { fixed, integer, type Table } from "./Report.ts"

interface CpuProfile {
  readonly nodes: ReadonlyArray<{
    readonly id: number
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
  }>
  readonly samples: ReadonlyArray<number>
  readonly timeDeltas: ReadonlyArray<number>
}

const shownFunctions = 30

const placeOf = (url: string, lineNumber: number) =>
  url === "" ? "" : `${url.replace(/^.*\/node_modules\//, "").replace(/^.*\/(src\/)/, "$1")}:${lineNumber + 1}`

/** Whose code it is: a package, a folder of ours, a part of Node. */
const areaOf = (name: string, place: string) =>
  place === ""
    ? name.startsWith("(") ? name : "native code, system calls included"
    : /^(src\/[^/]+|@[^/]+\/[^/]+|[^/:]+|node:(internal\/)?\w+)/.exec(place)?.[0] ?? place

const newest = async (folder: string): Promise<CpuProfile> => {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".cpuprofile"))
  const dated = await Promise.all(names.map(async (name) => ({ name, at: (await stat(join(folder, name))).mtimeMs })))
  const last = dated.toSorted((a, b) => b.at - a.at)[0]
  if (last === undefined) throw new Error("there is no profile")
  return JSON.parse(await readFile(join(folder, last.name), "utf8")) as CpuProfile
}

const selfTimes = ({ nodes, samples, timeDeltas }: CpuProfile) => {
  const frames = new Map(nodes.map(({ callFrame, id }) => [id, callFrame]))
  const times = new Map<string, number>()
  samples.forEach((id, n) => {
    const frame = frames.get(id)
    const name = frame === undefined ? "?" : frame.functionName || "(anonymous)"
    const key = `${name}\0${frame === undefined ? "" : placeOf(frame.url, frame.lineNumber)}`
    times.set(key, (times.get(key) ?? 0) + (timeDeltas[n] ?? 0) / 1000)
  })
  times.delete("(idle)\0")
  return times
}

/** Where the service's CPU time went, by its newest profile in the folder; nothing when none was asked for. */
export const topSelfTimes = (folder: string | undefined) =>
  folder === undefined ? Effect.succeed([]) : attempt("cannot read the profile", async () => {
    const times = selfTimes(await newest(folder))
    const all = [...times.values()].reduce((sum, time) => sum + time, 0)
    const rows = [...times].toSorted(([, a], [, b]) => b - a).slice(0, shownFunctions)
    const areas = Map.groupBy(times, ([key]) => areaOf(key.split("\0")[0]!, key.split("\0")[1]!))
    const byArea: Table = {
      title: `the service's CPU time, ${integer(all)} ms in all, by whose code it is`,
      header: ["area", "ms", "%"],
      rows: [...areas].map(([area, parts]) => [area, parts.reduce((sum, [, time]) => sum + time, 0)] as const)
        .toSorted(([, a], [, b]) => b - a).slice(0, 15)
        .map(([area, time]) => [area, integer(time), fixed(1)(time / all * 100)])
    }
    const byFunction: Table = {
      title: "and by function: its own time, without what it calls",
      header: ["function", "ms", "%", "where"],
      rows: rows.map(([key, time]) => {
        const [name = "", place = ""] = key.split("\0")
        return [name, integer(time), fixed(1)(time / all * 100), place]
      })
    }
    return [byArea, byFunction]
  })
