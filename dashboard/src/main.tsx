import { CSPProvider } from "@base-ui/react/csp-provider"
import { MutationCache, QueryCache, QueryClient, QueryClientProvider } from "@tanstack/react-query"
import { RouterProvider } from "@tanstack/react-router"
import { StrictMode } from "react"
import { createRoot } from "react-dom/client"
import { Problem } from "./api/Problem.ts"
import { makeRouter } from "./Router.tsx"
import { sessionQuery } from "./shell/Session.ts"
import "./styles.css"

/** Any answer of 401 says that the session has ended: how to sign in is asked anew. */
const onError = (error: unknown) => {
  if (error instanceof Problem && error.status === 401) {
    void queries.invalidateQueries(sessionQuery)
  }
}

const isWorthRetrying = (attempts: number, error: unknown) =>
  attempts < 3 && (!(error instanceof Problem) || error.status === 0 || error.status >= 500)

const queries: QueryClient = new QueryClient({
  queryCache: new QueryCache({ onError }),
  mutationCache: new MutationCache({
    onError: (error, _variables, _result, mutation) => {
      if (mutation.options.mutationKey?.[0] !== "sign-in") onError(error)
    }
  }),
  // Our own health check says who is away; the browser's guess keeps nothing from being asked.
  defaultOptions: {
    queries: { networkMode: "always", retry: isWorthRetrying, staleTime: 5_000 },
    mutations: { networkMode: "always" }
  }
})

const router = makeRouter(queries)

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router
  }
  interface HistoryState {
    /** The page's search has the focus from the first on. */
    search?: boolean
  }
}

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <CSPProvider disableStyleElements>
      <QueryClientProvider client={queries}>
        <RouterProvider router={router} />
      </QueryClientProvider>
    </CSPProvider>
  </StrictMode>
)

// A page that is opened while the service is away is a page that says so, not one that is missing.
const stop = router.subscribe("onRendered", () => {
  stop()
  setTimeout(async () => {
    for (const route of Object.values(router.routesById)) await router.loadRouteChunk(route)?.catch(() => undefined)
  }, 2_000)
})
