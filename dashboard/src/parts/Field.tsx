import { createContext, type ReactNode, useContext, useId } from "react"

export interface FieldProps {
  readonly label: string
  /** What the API refuses about it. */
  readonly error?: string | undefined
  readonly hint?: ReactNode
  readonly optional?: boolean
  readonly children: (props: ControlProps) => ReactNode
}

/** What a control needs so that its label and its fault are read out with it. */
export interface ControlProps {
  readonly id: string
  readonly "aria-invalid": boolean
  readonly "aria-describedby": string | undefined
}

const FieldId = createContext<string | undefined>(undefined)
/** The id of the control that surrounds, for parts of it. */
export const useFieldId = () => useContext(FieldId)

/** A labelled control with its hint and its fault. */
export const Field = ({ children, error, hint, label, optional = false }: FieldProps) => {
  const id = useId()
  const described = [hint !== undefined && `${id}-hint`, error !== undefined && `${id}-error`].filter(Boolean).join(" ")
  return (
    <FieldId value={id}>
      <div className="grid gap-1.5">
        <label htmlFor={id} className="font-medium">
          {label}
          {optional && <span className="ml-1.5 font-normal text-muted">optional</span>}
        </label>
        {children({ id, "aria-invalid": error !== undefined, "aria-describedby": described || undefined })}
        {error !== undefined && <FieldError id={`${id}-error`}>{error}</FieldError>}
        {hint !== undefined && <div id={`${id}-hint`} className="text-[0.93rem] text-muted">{hint}</div>}
      </div>
    </FieldId>
  )
}

export const FieldError = ({ children, id }: { readonly id?: string; readonly children: ReactNode }) => (
  <div id={id} role="alert" className="text-[0.93rem] font-medium text-bad">{children}</div>
)
