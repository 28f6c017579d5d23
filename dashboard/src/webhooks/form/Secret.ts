/** A new signing secret as Standard Webhooks has it: 32 random bytes behind `whsec_`. */
export const newSecret = (): string =>
  `whsec_${btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(32))))}`
