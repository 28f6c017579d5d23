import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query"
import { Link, Outlet } from "@tanstack/react-router"
import { BookOpen, LayoutDashboard, LogOut, ScanSearch, Settings, Webhook } from "lucide-react"
import { tellFailure, Toasts, toasts } from "../parts/Toasts.tsx"
import { Banner } from "./Banner.tsx"
import { type Session, sessionQuery, signOut } from "./Session.ts"
import { Shortcuts } from "./Shortcuts.tsx"
import { SignIn } from "./SignIn.tsx"
import { ThemeMenu } from "./ThemeMenu.tsx"

const item = "flex h-9 items-center gap-2 rounded-md px-2.5 font-medium text-muted hover:bg-raised hover:text-ink " +
  "aria-[current=page]:bg-raised aria-[current=page]:text-ink"

const Nav = () => (
  <nav aria-label="Pages" className="flex items-center gap-0.5">
    <Link to="/" className={item} activeOptions={{ exact: true, includeSearch: false }} aria-label="Overview">
      <LayoutDashboard size={16} aria-hidden /> <span className="hidden md:inline">Overview</span>
    </Link>
    <Link to="/webhooks" className={item} activeOptions={{ includeSearch: false }} aria-label="Webhooks">
      <Webhook size={16} aria-hidden /> <span className="hidden md:inline">Webhooks</span>
    </Link>
    <Link to="/events" className={item} activeOptions={{ includeSearch: false }} aria-label="Events">
      <ScanSearch size={16} aria-hidden /> <span className="hidden md:inline">Events</span>
    </Link>
    <Link to="/settings" className={item} aria-label="Settings">
      <Settings size={16} aria-hidden /> <span className="hidden md:inline">Settings</span>
    </Link>
    <a href="/docs" className={item} aria-label="API reference">
      <BookOpen size={16} aria-hidden /> <span className="hidden md:inline">API</span>
    </a>
  </nav>
)

const Who = ({ session }: { readonly session: Session }) => {
  const queries = useQueryClient()
  const leave = useMutation({
    mutationFn: signOut,
    onSuccess: async () => {
      const { principal } = await queries.fetchQuery({ ...sessionQuery, staleTime: 0 })
      if (principal === null) return queries.removeQueries({ predicate: ({ queryKey }) => queryKey[0] !== "session" })
      // A session of Ory Kratos belongs to all that is behind it: it ends there.
      toasts.add({
        title: `You are still signed in as ${principal.name}`,
        description: "That session is Ory Kratos's: sign out there."
      })
    },
    onError: tellFailure("You are still signed in")
  })
  if (session.mode === "open") {
    return (
      <span
        className="rounded-md border border-line px-1.5 py-1 text-[0.9rem] whitespace-nowrap text-muted sm:px-2"
        title="No sign-in: whoever uses this machine may change everything (TRUSS_AUTH=open)"
      >
        Open<span className="sr-only lg:not-sr-only">{" "}on this machine</span>
      </span>
    )
  }
  return (
    <>
      {session.principal?.scope === "read" && (
        <span
          className="rounded-md border border-line px-2 py-1 text-[0.9rem] whitespace-nowrap text-muted"
          title="Signed in with a key of the scope read: nothing can be changed"
        >
          Read only
        </span>
      )}
      <span className="hidden max-w-40 truncate text-muted md:inline" title="Signed in">{session.principal?.name}</span>
      <button
        type="button"
        aria-label="Sign out"
        title="Sign out"
        className="grid size-9 place-items-center rounded-md text-muted hover:bg-raised hover:text-ink"
        onClick={() => leave.mutate()}
      >
        <LogOut size={17} aria-hidden />
      </button>
    </>
  )
}

/** What surrounds every page. */
export const Shell = () => {
  const { data: session, isPending } = useQuery(sessionQuery)
  if (session?.principal === null) return <SignIn session={session} />
  return (
    <>
      <a
        href="#main"
        className="sr-only z-50 rounded bg-surface px-3 py-2 focus:not-sr-only focus:fixed focus:top-2 focus:left-2"
      >
        Skip to the page
      </a>
      <header className="sticky top-0 z-20 border-b border-line bg-surface">
        <div className="mx-auto flex h-14 max-w-[80rem] items-center gap-1 px-3 sm:gap-5 sm:px-8">
          <Link
            to="/"
            aria-label="Truss Webhooks"
            className="flex items-center gap-2.5 rounded font-semibold tracking-tight"
          >
            <img src="/favicon.svg" alt="" width="24" height="24" />
            <span className="hidden xl:inline">Truss Webhooks</span>
          </Link>
          <Nav />
          <div className="ml-auto flex items-center gap-1.5">
            {session !== undefined && <Who session={session} />}
            <Shortcuts />
            <ThemeMenu />
          </div>
        </div>
      </header>
      <Banner />
      <main id="main" tabIndex={-1} className="outline-none">
        {!isPending && <Outlet />}
      </main>
      <Toasts />
    </>
  )
}
