import { Effect } from "effect"
import { HttpServerResponse } from "effect/http"

/** The database's JSON goes out as it is: parsing it would lose digits of `bigint` and `numeric`. */
export const jsonText = Effect.map((text: string) => HttpServerResponse.text(text, { contentType: "application/json" }))
