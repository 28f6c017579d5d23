const plain = new Intl.NumberFormat("en")
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 })

/** `1,234`. */
export const count = (n: number): string => plain.format(n)

/** `1.2K`. */
export const compact = (n: number): string => short.format(n)

/** `1 event`, `2 events`. */
export const plural = (n: number, one: string, many = `${one}s`): string => `${count(n)} ${n === 1 ? one : many}`

/** Milliseconds, as people say them. */
export const milliseconds = (ms: number): string => {
  if (ms < 10) return `${Math.round(ms * 10) / 10} ms`
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${Math.round(ms / 10) / 100} s`
}

/** Seconds, as people say them. */
export const seconds = (s: number): string => {
  if (s < 60) return `${Math.round(s)} s`
  if (s < 3_600) return `${Math.round(s / 60)} min`
  return s < 86_400 ? `${Math.round(s / 360) / 10} h` : `${Math.round(s / 8_640) / 10} days`
}

/** A part of a whole in per cent; never 100 % when something is missing. */
export const percent = (part: number, whole: number): string => {
  if (whole === 0) return "–"
  const exact = part / whole * 100
  return exact > 99.9 && part < whole ? "99.9%" : `${Math.round(exact * 10) / 10}%`
}
