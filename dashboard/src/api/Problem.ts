/** One thing that does not fit; `path` is dotted (`filter.0.op`), and empty when the whole is meant. */
export interface Fault {
  readonly path: string
  readonly message: string
}

/** Why a request came to nothing. `status` is 0 when nobody answered. */
export class Problem extends Error {
  override readonly name = "Problem"
  readonly status: number
  readonly title: string
  readonly faults: ReadonlyArray<Fault>

  constructor(status: number, title: string, detail: string, faults: ReadonlyArray<Fault> = []) {
    super(detail)
    this.status = status
    this.title = title
    this.faults = faults
  }

  static offline(): Problem {
    return new Problem(0, "No answer", "The service does not answer. Is it running, and are you online?")
  }

  static async of(response: Response): Promise<Problem> {
    const body = await response.json().catch(() => undefined) as
      | { readonly title?: string; readonly detail?: string; readonly errors?: ReadonlyArray<Fault> }
      | undefined
    const title = body?.title ?? (response.statusText || `Status ${response.status}`)
    return new Problem(response.status, title, body?.detail ?? title, body?.errors)
  }
}

/** A reason that a person can read, whatever was thrown. */
export const reasonOf = (error: unknown): string => error instanceof Error ? error.message : String(error)
