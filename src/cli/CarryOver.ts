import { Console, Effect } from "effect"
import type { ImportPlan } from "../domain/ImportPlan.ts"
import type { Webhook } from "../domain/Webhook.ts"
import type { SettingsShape } from "../services/Settings.ts"
import { CommandFailed } from "./Failure.ts"
import { ServerApi, toCommandFailed } from "./ServerApi.ts"

/** How one of them ended; `planned` without `--create`. */
interface Outcome {
  readonly plan: ImportPlan
  readonly state: "planned" | "created" | "there" | "not_carried" | "refused"
  readonly id: string | null
  readonly refusal: string | null
}

/** What the flags of every `import` say. */
type Options = { readonly [K in "create" | "active" | "json"]: boolean }

const existing = Effect.fnUntraced(function*(api: ServerApi["Service"]) {
  const found: Array<Webhook> = []
  let cursor: string | null = null
  do {
    const query: string = cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`
    const page: { data: Array<Webhook>; next_cursor: string | null } = JSON.parse(
      yield* api.request("GET", `/webhooks?limit=500${query}`)
    )
    found.push(...page.data)
    cursor = page.next_cursor
  } while (cursor !== null)
  return found
})

const isSame = ({ webhook }: ImportPlan) => (one: Webhook) =>
  one.name === webhook?.name && one.table_schema === (webhook.table_schema ?? "public") &&
  one.table_name === webhook.table_name && one.url === webhook.url

/** Creates what is not there yet, one after the other; what the server refuses stops nothing. */
const createAll = Effect.fnUntraced(function*(plans: ReadonlyArray<ImportPlan>, { active }: Options) {
  const api = yield* ServerApi
  const there = yield* existing(api)
  return yield* Effect.forEach(plans, (plan): Effect.Effect<Outcome, CommandFailed> => {
    const outcome = (state: Outcome["state"], id: string | null = null, refusal: string | null = null) => ({
      plan,
      state,
      id,
      refusal
    })
    if (plan.webhook === null) return Effect.succeed(outcome("not_carried"))
    const found = there.find(isSame(plan))
    if (found !== undefined) return Effect.succeed(outcome("there", found.id))
    return api.request("POST", "/webhooks", { ...plan.webhook, active: active && !plan.needsReview }).pipe(
      Effect.map((text) => outcome("created", JSON.parse(text).id)),
      Effect.catchTag("Refused", (error) =>
        error.status === 401
          ? Effect.fail(toCommandFailed(error))
          : Effect.succeed(outcome("refused", null, error.detail))),
      Effect.catchTag("ServerAway", (error) => Effect.fail(toCommandFailed(error)))
    )
  })
})

const words = {
  planned: "would create",
  created: "created",
  there: "is there",
  not_carried: "CANNOT",
  refused: "REFUSED"
} as const

const linesOf = ({ id, plan, refusal, state }: Outcome): ReadonlyArray<string> => [
  `${words[state].padEnd(12)}  ${plan.theirs}${id === null ? "" : `  ${id}`}`,
  ...(plan.webhook === null || state === "there" ? [] : [
    `                ${plan.webhook.events.join(",")} → ${plan.webhook.url}` +
    (plan.webhook.columns ? `, if ${plan.webhook.columns.join(" or ")} changed` : ""),
    ...(Object.keys(plan.webhook.headers ?? {}).length === 0
      ? []
      : [`                with the headers ${Object.keys(plan.webhook.headers ?? {}).join(", ")}`])
  ]),
  ...(refusal === null ? [] : [`              - ${refusal}`]),
  ...(state === "there" ? [] : plan.notes.map((note) => `              - ${note}`)),
  ...(plan.needsReview && state !== "there"
    ? ["              - look at it before you enable it: it is made paused"]
    : [])
]

/** Values of headers are secrets as often as not. */
const masked = (webhook: ImportPlan["webhook"]) =>
  webhook === null ? null : {
    ...webhook,
    headers: Object.fromEntries(Object.keys(webhook.headers ?? {}).map((name) => [name, "***"]))
  }

const show = (outcomes: ReadonlyArray<Outcome>, asJson: boolean) =>
  Console.log(
    asJson
      ? JSON.stringify(
        {
          webhooks: outcomes.map(({ id, plan, refusal, state }) => ({
            theirs: plan.theirs,
            webhook: masked(plan.webhook),
            notes: [...(refusal === null ? [] : [refusal]), ...plan.notes],
            needs_review: plan.needsReview,
            state,
            id
          }))
        },
        null,
        2
      )
      : outcomes.flatMap(linesOf).join("\n")
  )

/** Shows what becomes of them, and with `create` makes it so on the server; `nothing` is said where there are none. */
export const carryOver = Effect.fnUntraced(function*(
  settings: SettingsShape,
  plans: ReadonlyArray<ImportPlan>,
  options: Options,
  nothing: string
) {
  if (plans.length === 0) return yield* Console.error(`truss-webhooks: ${nothing}`)
  const outcomes = options.create
    ? yield* Effect.provide(createAll(plans, options), ServerApi.layer(settings)).pipe(
      Effect.mapError((error) => error instanceof CommandFailed ? error : toCommandFailed(error))
    )
    : plans.map((plan): Outcome => ({
      plan,
      state: plan.webhook === null ? "not_carried" : "planned",
      id: null,
      refusal: null
    }))
  yield* show(outcomes, options.json)
  const count = (state: Outcome["state"]) => outcomes.filter((one) => one.state === state).length
  if (!options.create) {
    return yield* Console.error(
      `truss-webhooks: nothing was created: ${count("planned")} would be, ${count("not_carried")} cannot be carried ` +
        "over. Add --create to create them, paused; theirs stay as they are"
    )
  }
  yield* Console.error(
    `truss-webhooks: ${count("created")} created, ${count("there")} were there, ${count("not_carried")} cannot be ` +
      "carried over. Theirs stay as they are"
  )
  const refused = count("refused")
  if (refused > 0) return yield* new CommandFailed({ lines: [`the server refused ${refused} of them, as said above`] })
})
