import { Menu } from "@base-ui/react/menu"
import { useMutation, useQueryClient } from "@tanstack/react-query"
import { useNavigate } from "@tanstack/react-router"
import { Ellipsis, History, KeyRound, LifeBuoy, Trash2 } from "lucide-react"
import { useState } from "react"
import { call } from "../api/Client.ts"
import { buttonClass } from "../parts/Button.tsx"
import { Confirm } from "../parts/Confirm.tsx"
import { tellFailure, toasts } from "../parts/Toasts.tsx"
import type { Webhook } from "../webhooks/Queries.ts"
import { RecoverDialog } from "./repair/RecoverDialog.tsx"
import { ReplayDialog } from "./repair/ReplayDialog.tsx"
import { RotateDialog } from "./RotateDialog.tsx"

const item = "flex w-full items-center gap-2.5 rounded-md px-2.5 py-1.5 outline-none data-highlighted:bg-raised"

/** What is done seldom. */
export const MoreMenu = ({ webhook }: { readonly webhook: Webhook }) => {
  const navigate = useNavigate()
  const queries = useQueryClient()
  const [asking, setAsking] = useState<"replay" | "recover" | "rotate" | "delete">()
  const close = () => setAsking(undefined)
  const remove = useMutation({
    mutationFn: () => call("webhooks", "delete", { params: { id: webhook.id } }),
    onSuccess: async () => {
      await navigate({ to: "/webhooks" })
      queries.removeQueries({ queryKey: ["webhook", webhook.id] })
      void queries.invalidateQueries({ queryKey: ["webhooks"] })
      toasts.add({ title: `${webhook.name} is deleted` })
    },
    onError: tellFailure(`${webhook.name} was not deleted`)
  })
  return (
    <>
      <Menu.Root>
        <Menu.Trigger aria-label="More" className={`${buttonClass()} px-2.5`}>
          <Ellipsis size={16} aria-hidden />
        </Menu.Trigger>
        <Menu.Portal>
          <Menu.Positioner align="end" sideOffset={6} className="z-50">
            <Menu.Popup className="min-w-44 rounded-lg border border-line bg-surface p-1 shadow-high outline-none">
              <Menu.Item className={item} onClick={() => setAsking("replay")}>
                <History size={15} aria-hidden /> Replay many
              </Menu.Item>
              <Menu.Item className={item} onClick={() => setAsking("recover")}>
                <LifeBuoy size={15} aria-hidden /> Recover what was never sent
              </Menu.Item>
              <Menu.Item className={item} onClick={() => setAsking("rotate")}>
                <KeyRound size={15} aria-hidden /> {webhook.has_secret ? "Rotate secret" : "Make a secret"}
              </Menu.Item>
              <Menu.Item className={`${item} text-bad`} onClick={() => setAsking("delete")}>
                <Trash2 size={15} aria-hidden /> Delete
              </Menu.Item>
            </Menu.Popup>
          </Menu.Positioner>
        </Menu.Portal>
      </Menu.Root>
      <ReplayDialog webhook={webhook} open={asking === "replay"} initial={{ outcome: "failed" }} onClose={close} />
      <RecoverDialog webhook={webhook} open={asking === "recover"} onClose={close} />
      <RotateDialog webhook={webhook} open={asking === "rotate"} onClose={close} />
      <Confirm
        open={asking === "delete"}
        title={`Delete ${webhook.name}?`}
        action="Delete the webhook"
        busy={remove.isPending}
        onClose={close}
        onConfirm={() => remove.mutate()}
      >
        Its log goes with it, and events that wait for it are not sent. This cannot be undone.
      </Confirm>
    </>
  )
}
