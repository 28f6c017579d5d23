import { useMutation } from "@tanstack/react-query"
import { Link } from "@tanstack/react-router"
import { Send } from "lucide-react"
import { useState } from "react"
import { call } from "../api/Client.ts"
import { Button, buttonClass } from "../parts/Button.tsx"
import { Modal } from "../parts/Modal.tsx"
import { milliseconds } from "../parts/Numbers.ts"
import { Failed } from "../parts/States.tsx"
import type { Webhook } from "../webhooks/Queries.ts"
import { Answer } from "./Answer.tsx"
import { Result } from "./Result.tsx"

/** Sends a synthetic event and shows what the endpoint says. */
export const TestDialog = ({ webhook }: { readonly webhook: Webhook }) => {
  const [open, setOpen] = useState(false)
  const test = useMutation({ mutationFn: () => call("webhooks", "test", { params: { id: webhook.id }, body: {} }) })
  const start = () => {
    setOpen(true)
    test.mutate()
  }
  return (
    <>
      <Button look="primary" onClick={start}>
        <Send size={15} aria-hidden /> Send test
      </Button>
      <Modal open={open} onClose={() => setOpen(false)} title="Test">
        <div role="status" className="grid gap-4">
          {test.isPending && <p className="text-muted">Waiting for the answer of {webhook.url}</p>}
          {test.isError && <Failed error={test.error} onRetry={() => test.mutate()} />}
          {test.data !== undefined && (
            <>
              <p className="flex items-center gap-3">
                <Result of={test.data} />
                <span className="text-muted">after {milliseconds(test.data.latency_ms)}</span>
              </p>
              <Answer entry={test.data} />
              <div className="flex flex-wrap gap-2">
                <Button onClick={() => test.mutate()}>Send another</Button>
                <Link
                  from="/webhooks/$id"
                  to="/webhooks/$id"
                  search={(old) => ({ ...old, delivery: test.data.log_id })}
                  resetScroll={false}
                  className={buttonClass("quiet")}
                  onClick={() => setOpen(false)}
                >
                  See what was sent
                </Link>
              </div>
            </>
          )}
        </div>
      </Modal>
    </>
  )
}
