interface Props<A extends string> {
  readonly label: string
  readonly options: ReadonlyArray<readonly [A, string]>
  readonly value: A
  readonly onChange: (value: A) => void
}

/** A few choices in a row. */
export const Segments = <A extends string>({ label, onChange, options, value }: Props<A>) => (
  <div role="group" aria-label={label} className="inline-flex rounded-[7px] border border-line bg-surface p-0.5">
    {options.map(([option, words]) => (
      <button
        key={option}
        type="button"
        aria-pressed={option === value}
        onClick={() => onChange(option)}
        className="h-7 rounded-[5px] px-2.5 text-muted hover:text-ink aria-pressed:bg-raised aria-pressed:font-medium aria-pressed:text-ink"
      >
        {words}
      </button>
    ))}
  </div>
)
