/**
 * The text of a member of a JSON object, byte for byte as it stands there; `undefined` where there is none of that name.
 * The object must be valid JSON: `JSON.parse` would say so, and would lose digits.
 */
export const rawMember = (json: string, name: string): string | undefined => {
  let depth = 0
  let key: string | undefined
  let valueStart = -1
  for (let at = 0; at < json.length; at++) {
    const char = json[at]
    if (char === "\"") {
      const start = at
      for (at++; json[at] !== "\""; at++) if (json[at] === "\\") at++
      if (depth === 1 && key === undefined) key = JSON.parse(json.slice(start, at + 1))
    } else if (char === "{" || char === "[") {
      depth++
    } else if (char === "}" || char === "]") {
      if (--depth === 0) return key === name && valueStart >= 0 ? json.slice(valueStart, at).trim() : undefined
    } else if (depth === 1 && char === ":") {
      valueStart = at + 1
    } else if (depth === 1 && char === ",") {
      if (key === name) return json.slice(valueStart, at).trim()
      key = undefined
    }
  }
  return undefined
}
