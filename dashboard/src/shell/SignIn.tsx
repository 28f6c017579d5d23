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

/** The login that comes back here. Only a web address is followed, whatever the answer says. */
const loginOf = ({ login_url }: Session): string | undefined => {
  const url = login_url === null ? null : URL.parse(login_url, location.href)
  if (url === null || !/^https?:$/.test(url.protocol)) return undefined
  url.searchParams.set("return_to", location.href)
  return url.href
}

/** Who comes back as a stranger is not sent round and round. */
const sentAt = "truss-sent-to-login"
const soonMs = 15_000

const Elsewhere = ({ url }: { readonly url: string }) => {
  const [goes] = useState(() => Date.now() - Number(sessionStorage.getItem(sentAt)) > soonMs)
  useEffect(() => {
    if (!goes) return
    sessionStorage.setItem(sentAt, String(Date.now()))
    location.assign(url)
  }, [goes, url])
  return (
    <>
      {!goes && (
        <p role="alert" className="text-muted">
          You came back without a session. If you did sign in, the cookie of Ory Kratos does not reach this host: its
          cookies' domain has to cover both.
        </p>
      )}
      <a className={buttonClass("primary")} href={url}>Continue to sign in</a>
    </>
  )
}

/** What whoever is not signed in sees. */
export const SignIn = ({ session }: { readonly session: Session }) => {
  const login = loginOf(session)
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
