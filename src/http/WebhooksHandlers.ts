import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { PreviewRequest } from "../domain/PreviewRequest.ts"
import { SecretRotation } from "../domain/SecretRotation.ts"
import { WebhookCreate, WebhookPatch } from "../domain/Webhook.ts"
import { ManualDelivery } from "../services/ManualDelivery.ts"
import { Preview } from "../services/Preview.ts"
import { SecretRotator } from "../services/SecretRotator.ts"
import { Webhooks } from "../services/Webhooks.ts"
import type { PrefixedApi } from "./api/Api.ts"
import { defaultLimit } from "./api/Parameters.ts"
import { NoOptions } from "./api/Webhooks.ts"
import { conditionsOf, ifWanted, tagged } from "./Conditional.ts"
import { asProblems } from "./DomainProblems.ts"
import { jsonText } from "./JsonText.ts"
import { decodeBody } from "./RequestBody.ts"

const createBody = decodeBody(WebhookCreate)
const patchBody = decodeBody(WebhookPatch)
const previewBody = decodeBody(PreviewRequest)
const rotateBody = decodeBody(SecretRotation, {})
const noBody = decodeBody(NoOptions, {})

/** Handlers of the webhooks, whatever the prefix. */
export const webhooksHandlers = (api: PrefixedApi) =>
  HttpApiBuilder.group(
    api,
    "webhooks",
    Effect.fn(function*(handlers) {
      const webhooks = yield* Webhooks
      const manual = yield* ManualDelivery
      const preview = yield* Preview
      const rotator = yield* SecretRotator
      return handlers
        .handleAll({
          list: ({ query }) => asProblems(webhooks.list({ limit: defaultLimit, ...query })),
          get: ({ params, request }) =>
            Effect.flatMap(conditionsOf(request), (conditions) =>
              Effect.flatMap(asProblems(webhooks.get(params.id)), (webhook) =>
                ifWanted(webhook, conditions))),
          delete: ({ params, request }) =>
            Effect.flatMap(conditionsOf(request), (conditions) =>
              asProblems(webhooks.remove(params.id, conditions)))
        })
        .handleRaw("create", ({ request }) =>
          Effect.flatMap(createBody(request), (input) =>
            Effect.map(asProblems(webhooks.create(input)), (webhook) =>
              tagged(webhook, 201))))
        .handleRaw("patch", ({ params, request }) =>
          Effect.flatMap(Effect.all([conditionsOf(request), patchBody(request)]), ([conditions, input]) =>
            Effect.map(asProblems(webhooks.patch(params.id, input, conditions)), (webhook) =>
              tagged(webhook))))
        .handleRaw("preview", ({ request }) =>
          Effect.flatMap(previewBody(request), (wanted) =>
            jsonText(asProblems(preview.of(wanted)))))
        .handleRaw("test", ({ params, request }) =>
          Effect.andThen(noBody(request), asProblems(manual.test(params.id))))
        .handleRaw("rotate", ({ params, request }) =>
          Effect.flatMap(rotateBody(request), (rotation) =>
            asProblems(rotator.rotate(params.id, rotation))))
    })
  )
