/**
 * Text inside statements that take no parameters: the bodies of functions, and DDL. Everything else is a parameter.
 */

/** A string literal that means the same whatever `standard_conforming_strings` is. */
export const literal = (text: string): string => {
  const quoted = `'${text.replaceAll("'", "''")}'`
  return quoted.includes("\\") ? `E${quoted.replaceAll("\\", "\\\\")}` : quoted
}

/** An identifier, letter for letter. */
export const identifier = (name: string): string => `"${name.replaceAll("\"", "\"\"")}"`
