/** JSON as it was written: digits beyond a double, the order of members and repeated ones are what they were. */
export class JsonText {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

/** An answer's type, with each payload as text. */
export type WithPayloads<T> = T extends string | number | boolean | null | undefined ? T
  : T extends ReadonlyArray<infer A> ? ReadonlyArray<WithPayloads<A>>
  : T extends object ? {
      readonly [K in keyof T]: K extends "payload" ? JsonText
        : K extends "samples" ? ReadonlyArray<JsonText>
        : WithPayloads<T[K]>
    }
  : T

/** The index behind the string that begins at `start`. */
const endOfString = (text: string, start: number): number => {
  for (let at = start + 1; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === 92) at++
    else if (code === 34) return at + 1
  }
  return text.length
}

/** The index behind the value that begins at `start`. */
const endOfValue = (text: string, start: number): number => {
  let depth = 0
  for (let at = start; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === 34) {
      at = endOfString(text, at) - 1
      if (depth === 0) return at + 1
    } else if (code === 123 || code === 91) depth++
    else if (code === 125 || code === 93) {
      if (depth === 0) return at
      if (--depth === 0) return at + 1
    } else if (code === 44 && depth === 0) return at
  }
  return text.length
}

const skipSpace = (text: string, start: number): number => {
  let at = start
  while (text.charCodeAt(at) <= 32) at++
  return at
}

/** The elements of a JSON array, each as it was written. */
export const elementsOf = (array: string): ReadonlyArray<JsonText> => {
  const elements: Array<JsonText> = []
  let at = skipSpace(array, 1)
  while (at < array.length && array[at] !== "]") {
    const end = endOfValue(array, at)
    elements.push(new JsonText(array.slice(at, end).trim()))
    at = skipSpace(array, end)
    if (array[at] === ",") at = skipSpace(array, at + 1)
  }
  return elements
}

/** Parses an answer; members named `payload` and `samples` are kept as they were written. */
export const parseKeepingPayloads = (text: string): unknown => {
  // A page of 500 webhooks has thousands of names, and neither of these.
  if (!/"(?:payload|samples)"/.test(text)) return JSON.parse(text)
  const kept: Array<JsonText | ReadonlyArray<JsonText>> = []
  let rest = ""
  let copied = 0
  for (let at = text.indexOf("\""); at !== -1; at = text.indexOf("\"", at)) {
    const end = endOfString(text, at)
    const name = text.slice(at + 1, end - 1)
    const colon = skipSpace(text, end)
    at = end
    if ((name !== "payload" && name !== "samples") || text[colon] !== ":") continue
    const start = skipSpace(text, colon + 1)
    at = endOfValue(text, start)
    const value = text.slice(start, at)
    kept.push(name === "samples" ? elementsOf(value) : new JsonText(value))
    rest += text.slice(copied, start) + String(kept.length - 1)
    copied = at
  }
  return JSON.parse(
    rest + text.slice(copied),
    (key, value: unknown) => (key === "payload" || key === "samples") && typeof value === "number" ? kept[value] : value
  )
}

/** A JSON value as a tree whose leaves are as they were written. */
export type JsonNode =
  | { readonly kind: "object"; readonly text: string; readonly members: ReadonlyArray<readonly [string, JsonNode]> }
  | { readonly kind: "array"; readonly text: string; readonly items: ReadonlyArray<JsonNode> }
  | { readonly kind: "string" | "number" | "boolean" | "null"; readonly text: string }

const membersOf = (text: string): ReadonlyArray<readonly [string, JsonNode]> => {
  const members: Array<readonly [string, JsonNode]> = []
  let at = skipSpace(text, 1)
  while (at < text.length && text[at] !== "}") {
    const keyEnd = endOfString(text, at)
    const start = skipSpace(text, skipSpace(text, keyEnd) + 1)
    const end = endOfValue(text, start)
    members.push([JSON.parse(text.slice(at, keyEnd)) as string, nodeOf(text.slice(start, end))])
    at = skipSpace(text, end)
    if (text[at] === ",") at = skipSpace(text, at + 1)
  }
  return members
}

/** Reads JSON that is known to be well formed. */
export const nodeOf = (json: string): JsonNode => {
  const text = json.trim()
  switch (text[0]) {
    case "{":
      return { kind: "object", text, members: membersOf(text) }
    case "[":
      return { kind: "array", text, items: elementsOf(text).map((item) => nodeOf(item.text)) }
    case "\"":
      return { kind: "string", text }
    case "t":
    case "f":
      return { kind: "boolean", text }
    case "n":
      return { kind: "null", text }
    default:
      return { kind: "number", text }
  }
}

/** The member of an object, if it is one and has it. */
export const memberOf = (node: JsonNode | undefined, name: string): JsonNode | undefined =>
  node?.kind === "object" ? node.members.find(([key]) => key === name)?.[1] : undefined
