import { useMutation, useQueryClient } from "@tanstack/react-query"
import { KeyRound } from "lucide-react"
import { type FormEvent, useEffect, useState } from "react"
import { Problem } from "../api/Problem.ts"
import { Button, buttonClass } from "../parts/Button.tsx"
import { Field } from "../parts/Field.tsx"
import { type Session, signIn } from "./Session.ts"

const faultOf = (error: unknown): string | undefined => {
  if (error === null) return undefined
  if (error instanceof Problem && error.status === 401) return "This key is not valid: it may have been revoked"
  if (error instanceof Problem && error.status === 404) {
    return "This service has no sign-in for browsers: use the REST API with the key"
  }
  return error instanceof Error ? error.message : String(error)
}

const KeyForm = () => {
  const [key, setKey] = useState("")
  const queries = useQueryClient()
  const enter = useMutation({ mutationKey: ["sign-in"], mutationFn: signIn, onSuccess: () => queries.resetQueries() })
  const submit = (event: FormEvent) => {
    event.preventDefault()
    enter.mutate(key.trim())
  }
  return (
    <form className="grid gap-4" onSubmit={submit}>
      <Field
        label="API key"
        error={faultOf(enter.error)}
        hint={
          <>
            Make one with <code className="font-mono">truss-webhooks keys create --name me --scope write</code>
          </>
        }
      >
        {(props) => (
          <input
            {...props}
            className="input font-mono"
            type="password"
            autoComplete="current-password"
            spellCheck={false}
            required
            placeholder="truss_sk_…"
            value={key}
            onChange={(event) => setKey(event.target.value)}
          />
        )}
      </Field>
      <Button type="submit" look="primary" busy={enter.isPending}>Sign in</Button>
    </form>
  )
}

/** Only a web address is followed, whatever the answer says. */
const webAddress = (text: string | null): string | undefined => {
  const url = text === null ? null : URL.parse(text, location.href)
  return url !== null && /^https?:$/.test(url.protocol) ? url.href : undefined
}

const Elsewhere = ({ url }: { readonly url: string }) => {
  useEffect(() => location.assign(url), [url])
  return <a className={buttonClass("primary")} href={url}>Continue to sign in</a>
}

/** What whoever is not signed in sees. */
export const SignIn = ({ session }: { readonly session: Session }) => {
  const login = session.mode === "kratos" ? webAddress(session.login_url) : undefined
  return (
    <main className="grid min-h-dvh place-items-center p-4">
      <div className="card grid w-[min(26rem,100%)] gap-5 p-7">
        <div className="grid gap-2">
          <KeyRound size={24} aria-hidden className="text-accent" />
          <h1 className="text-[1.3rem] font-semibold">Sign in to Truss Webhooks</h1>
        </div>
        {login === undefined ? <KeyForm /> : <Elsewhere url={login} />}
      </div>
    </main>
  )
}
