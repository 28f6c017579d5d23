import { type Schema, SchemaAST, SchemaIssue } from "effect"
import type { Fault } from "../domain/Errors.ts"
import { BadRequest } from "./api/Problems.ts"

const format = SchemaIssue.makeFormatterStandardSchemaV1({
  // Never the input: it may hold a secret.
  leafHook: (issue) => {
    switch (issue._tag) {
      case "MissingKey":
        return "is required"
      case "UnexpectedKey":
        return "is not a known member"
      case "InvalidType":
        return SchemaAST.isNever(issue.ast) ? "is not a known member" : SchemaIssue.defaultLeafHook(issue)
      default:
        return SchemaIssue.defaultLeafHook(issue)
    }
  }
})

/** Every fault that a schema found, with dotted paths. */
const faultsOf = (error: Schema.SchemaError): ReadonlyArray<Fault> =>
  format(error.issue).issues.map(({ path = [], message }) => ({
    path: path.map((segment) => String(typeof segment === "object" ? segment.key : segment)).join("."),
    message
  }))

/** A 400 that names these faults. */
export const badRequest = (faults: ReadonlyArray<Fault>): BadRequest => {
  const [first] = faults
  const about = first === undefined ? "" : first.path === "" ? first.message : `${first.path}: ${first.message}`
  const more = faults.length > 1 ? ` (and ${faults.length - 1} more)` : ""
  return new BadRequest({ detail: `The request does not fit: ${about}${more}`, errors: faults })
}

/** A 400 that names every fault that a schema found. */
export const badRequestOf = (error: Schema.SchemaError): BadRequest => badRequest(faultsOf(error))
