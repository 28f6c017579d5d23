import type { QueryClient } from "@tanstack/react-query"
import {
  createRootRouteWithContext,
  createRoute,
  createRouter,
  type ErrorComponentProps,
  lazyRouteComponent,
  Link
} from "@tanstack/react-router"
import { Compass } from "lucide-react"
import { buttonClass } from "./parts/Button.tsx"
import { Page } from "./parts/Page.tsx"
import { Empty, Failed, Loading } from "./parts/States.tsx"
import { Shell } from "./shell/Shell.tsx"
import { parseLogSearch } from "./webhook/LogSearch.ts"
import { parseListSearch } from "./webhooks/ListSearch.ts"

const NotFound = () => (
  <Page title="Not found">
    <div className="card">
      <Empty
        title="There is nothing here"
        icon={<Compass size={28} />}
        action={<Link to="/webhooks" className={buttonClass()}>To the webhooks</Link>}
      >
        The address may have a slip, or what it named was deleted.
      </Empty>
    </div>
  </Page>
)

const Broken = ({ error, reset }: ErrorComponentProps) => (
  <Page title="Something went wrong">
    <div className="card">
      <Failed error={error} onRetry={reset} />
    </div>
  </Page>
)

const Pending = () => (
  <Page title="Loading" heading={<div className="skeleton h-8 w-48" />}>
    <div className="card">
      <Loading what="the page" />
    </div>
  </Page>
)

const root = createRootRouteWithContext<{ readonly queries: QueryClient }>()({
  component: Shell,
  notFoundComponent: NotFound,
  errorComponent: Broken
})

const overview = createRoute({
  getParentRoute: () => root,
  path: "/",
  component: lazyRouteComponent(() => import("./overview/Overview.tsx"), "Overview")
})

const webhooks = createRoute({
  getParentRoute: () => root,
  path: "/webhooks",
  validateSearch: parseListSearch,
  component: lazyRouteComponent(() => import("./webhooks/List.tsx"), "List")
})

const create = createRoute({
  getParentRoute: () => root,
  path: "/webhooks/new",
  component: lazyRouteComponent(() => import("./webhooks/form/Create.tsx"), "Create")
})

const webhook = createRoute({
  getParentRoute: () => root,
  path: "/webhooks/$id",
  validateSearch: parseLogSearch,
  component: lazyRouteComponent(() => import("./webhook/WebhookPage.tsx"), "WebhookPage")
})

const edit = createRoute({
  getParentRoute: () => root,
  path: "/webhooks/$id/edit",
  component: lazyRouteComponent(() => import("./webhooks/form/Edit.tsx"), "Edit")
})

const eventPage = lazyRouteComponent(() => import("./events/EventPage.tsx"), "EventPage")
const events = createRoute({ getParentRoute: () => root, path: "/events", component: eventPage })
const event = createRoute({ getParentRoute: () => root, path: "/events/$id", component: eventPage })

const settings = createRoute({
  getParentRoute: () => root,
  path: "/settings",
  component: lazyRouteComponent(() => import("./settings/SettingsPage.tsx"), "SettingsPage")
})

/** The dashboard's pages by their addresses; `dashboardPages` of the service names the same. */
export const makeRouter = (queries: QueryClient) =>
  createRouter({
    routeTree: root.addChildren([overview, webhooks, create, webhook, edit, events, event, settings]),
    context: { queries },
    defaultPreload: "intent",
    defaultPendingComponent: Pending,
    defaultErrorComponent: Broken,
    scrollRestoration: true
  })
