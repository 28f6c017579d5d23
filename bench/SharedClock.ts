// `performance.now()` counts from the start of its own process; the monotonic clock behind it is the machine's.
const offset = Number(process.hrtime.bigint()) / 1e6 - performance.now()

/** Milliseconds on a clock that all processes of this machine share. */
export const now = (): number => offset + performance.now()
