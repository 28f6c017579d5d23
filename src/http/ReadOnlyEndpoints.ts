/** Endpoints that are asked by POST, since a question is long, and change nothing. */
const readOnly = new Set(["preview"])

/** Whether what this endpoint does is to read, whatever its method. */
export const isReadOnly = ({ identifier }: { readonly identifier: string }): boolean => readOnly.has(identifier)
