/** Code that verifies a delivery's signature, for the receiver; a test runs each against a real one. */
export const snippets = [
  [
    "node",
    "Node",
    `import { createHmac, timingSafeEqual } from "node:crypto"

// rawBody: the bytes as they came, before any JSON parser has them.
// signature: request.headers["x-truss-signature"]
export const verify = (secret, rawBody, signature = "") => {
  const expected = createHmac("sha256", secret).update(rawBody).digest()
  const given = Buffer.from(signature, "hex")
  return given.length === expected.length && timingSafeEqual(given, expected)
}
`
  ],
  [
    "python",
    "Python",
    `import hashlib
import hmac

# raw_body: the bytes as they came, before any JSON parser has them.
# signature: request.headers["X-Truss-Signature"]
def verify(secret: str, raw_body: bytes, signature: str) -> bool:
    expected = hmac.new(secret.encode(), raw_body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, signature)
`
  ],
  [
    "go",
    "Go",
    `package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
)

// Verify says whether the delivery is genuine. rawBody: the bytes as they
// came; signature: r.Header.Get("X-Truss-Signature").
func Verify(secret string, rawBody []byte, signature string) bool {
	given, err := hex.DecodeString(signature)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(rawBody)
	return err == nil && hmac.Equal(mac.Sum(nil), given)
}
`
  ]
] as const

export type SnippetLanguage = typeof snippets[number][0]
