/** One sample of a scrape. */
export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** A metric with all of its samples. */
export interface Family {
  readonly name: string
  readonly type: string
  readonly help: string
  readonly samples: ReadonlyArray<Sample>
}

const label = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/y
const sampleLine = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/
const unescaped = (text: string) => text.replace(/\\(.)/g, (_, c: string) => c === "n" ? "\n" : c)

const labelsOf = (text: string, line: string): Record<string, string> => {
  const labels: Record<string, string> = {}
  label.lastIndex = 0
  while (label.lastIndex < text.length) {
    const match = label.exec(text)
    if (match === null) throw new Error(`labels that do not parse: ${line}`)
    if (match[1]! in labels) throw new Error(`a label twice: ${line}`)
    labels[match[1]!] = unescaped(match[2]!)
  }
  return labels
}

const valueOf = (text: string, line: string): number => {
  const named = { "+Inf": Infinity, "-Inf": -Infinity, NaN }[text]
  if (named !== undefined) return named
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) throw new Error(`no number: ${line}`)
  return Number(text)
}

const suffixes: Readonly<Record<string, ReadonlyArray<string>>> = {
  counter: [""],
  gauge: [""],
  histogram: ["_bucket", "_sum", "_count"]
}

const checkHistogram = ({ name, samples }: Family) => {
  const series = Map.groupBy(samples, ({ labels: { le: _, ...rest } }) => JSON.stringify(rest))
  for (const of of series.values()) {
    const buckets = of.filter((sample) => sample.name.endsWith("_bucket"))
    const bounds = buckets.map(({ labels }) => valueOf(labels["le"] ?? "", name))
    const counts = buckets.map(({ value }) => value)
    const rises = (values: ReadonlyArray<number>, strictly: boolean) =>
      values.every((value, i) => i === 0 || value > values[i - 1]! || !strictly && value === values[i - 1]!)
    const count = of.find((sample) => sample.name === `${name}_count`)?.value
    if (bounds.at(-1) !== Infinity || !rises(bounds, true) || !rises(counts, false) || counts.at(-1) !== count) {
      throw new Error(`${name}: buckets that do not add up`)
    }
    if (of.filter((sample) => sample.name === `${name}_sum`).length !== 1) throw new Error(`${name}: no sum`)
  }
}

/**
 * Reads Prometheus's text format, version 0.0.4, and throws at whatever a strict reader would not take: no HELP or TYPE,
 * a family in pieces, a series twice, values that are no numbers, histograms that do not add up.
 */
export const parseExposition = (text: string): ReadonlyMap<string, Family> => {
  if (!text.endsWith("\n")) throw new Error("the last line does not end")
  const families = new Map<string, Family & { readonly samples: Array<Sample> }>()
  const seen = new Set<string>()
  let help: readonly [string, string] | undefined
  let current: (Family & { readonly samples: Array<Sample> }) | undefined
  for (const line of text.slice(0, -1).split("\n")) {
    const comment = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line)
    if (comment?.[1] === "HELP") {
      help = [comment[2]!, unescaped(comment[3]!)]
      continue
    }
    if (comment !== null) {
      const [name, type] = [comment[2]!, comment[3]!]
      if (help?.[0] !== name) throw new Error(`TYPE without its HELP: ${line}`)
      if (families.has(name)) throw new Error(`a family in pieces: ${line}`)
      if (!(type in suffixes)) throw new Error(`no type: ${line}`)
      current = { name, type, help: help[1], samples: [] }
      families.set(name, current)
      continue
    }
    const match = sampleLine.exec(line)
    if (match === null) throw new Error(`no sample: ${line}`)
    const sample = { name: match[1]!, labels: labelsOf(match[2] ?? "", line), value: valueOf(match[3]!, line) }
    const suffix = sample.name.slice(current?.name.length ?? 0)
    if (current === undefined || !sample.name.startsWith(current.name) || !suffixes[current.type]!.includes(suffix)) {
      throw new Error(`a sample of another family: ${line}`)
    }
    const key = sample.name + JSON.stringify(Object.entries(sample.labels).toSorted())
    if (seen.has(key)) throw new Error(`a series twice: ${line}`)
    seen.add(key)
    current.samples.push(sample)
  }
  for (const family of families.values()) if (family.type === "histogram") checkHistogram(family)
  return families
}
