import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { makeSigner } from "../../src/services/Signing.ts"
import { type Received, Receiver } from "../support/Receiver.ts"
import { Application, RunningService } from "../support/RunningService.ts"

const signedBy = ({ headers, text }: Received, secret: string, header = "x-truss-signature") =>
  headers[header] === makeSigner(secret).body(text)

it.layer(RunningService.layer().pipe(Layer.provideMerge(Receiver.layer)), { excludeTestServices: true })(
  "a secret that is rotated while events come",
  (it) => {
    it.effect("signs from then on, beside the old one, which falls silent by itself when the overlap ends", () =>
      Effect.gen(function*() {
        const receiver = yield* Receiver
        const service = yield* RunningService
        const sql = yield* Application
        yield* sql`CREATE TABLE orders (id serial PRIMARY KEY)`
        const { id } = yield* service.create({ table_name: "orders", url: receiver.url("/orders"), secret: "old" })
        /** Changes the table until a delivery is as it should be. */
        const until = (holds: (request: Received) => boolean) =>
          Effect.gen(function*() {
            const before = receiver.at("/orders").length
            yield* sql`INSERT INTO orders DEFAULT VALUES`
            const requests = yield* receiver.waitFor("/orders", before + 1)
            return requests.at(-1)!
          }).pipe(Effect.repeat({ until: holds }))
        yield* until((request) => signedBy(request, "old"))

        const rotation = { secret: "new", overlap_seconds: 2 }
        const answer = yield* service.ask("POST", `/webhooks/${id}/secret/rotate`, rotation)
        assert.strictEqual(answer.status, 200)
        const end = Date.parse(JSON.parse(answer.text).previous_valid_until)
        const both = yield* until((request) => signedBy(request, "new"))
        assert.isTrue(signedBy(both, "old", "x-truss-signature-previous"))
        assert.lengthOf(String(both.headers["webhook-signature"]).split(" "), 2)

        const alone = yield* until((request) => request.headers["x-truss-signature-previous"] === undefined)
        assert.isTrue(signedBy(alone, "new"))
        assert.lengthOf(String(alone.headers["webhook-signature"]).split(" "), 1)
        assert.isAtLeast(alone.at, end)
      }))
  }
)
