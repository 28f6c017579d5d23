import { type InfiniteData, useMutation, useQueryClient } from "@tanstack/react-query"
import { type Answer, call } from "../api/Client.ts"
import { tellFailure } from "../parts/Toasts.tsx"
import type { Webhook } from "./Queries.ts"

type Pages = InfiniteData<Answer<"webhooks", "list">>
type Tagged = { readonly value: Webhook; readonly tag: string | undefined }

/** Enables and disables a webhook: seen at once, undone with the reason when the service refuses. */
export const useSwitching = () => {
  const queries = useQueryClient()
  const show = (id: string, change: (webhook: Webhook) => Webhook) => {
    queries.setQueriesData<Pages>({ queryKey: ["webhooks"] }, (pages) =>
      pages && {
        ...pages,
        pages: pages.pages.map((page) => ({
          ...page,
          data: page.data.map((webhook) => webhook.id === id ? change(webhook) : webhook)
        }))
      })
    queries.setQueryData<Tagged>(["webhook", id], (found) => found && { ...found, value: change(found.value) })
  }
  return useMutation({
    mutationFn: ({ active, webhook }: { readonly webhook: Webhook; readonly active: boolean }) =>
      call("webhooks", "patch", { params: { id: webhook.id }, body: { active } }),
    onMutate: async ({ active, webhook }) => {
      await queries.cancelQueries({ queryKey: ["webhooks"] })
      await queries.cancelQueries({ queryKey: ["webhook", webhook.id] })
      show(webhook.id, (old) => ({ ...old, active, disabled_reason: active ? null : "paused" }))
    },
    onError: (error, { active, webhook }) => {
      show(webhook.id, () => webhook)
      tellFailure(`${webhook.name} could not be ${active ? "enabled" : "paused"}`)(error)
    },
    onSuccess: (answer) => show(answer.id, () => answer),
    onSettled: (_answer, _error, { webhook }) => queries.invalidateQueries({ queryKey: ["webhook", webhook.id] })
  })
}
