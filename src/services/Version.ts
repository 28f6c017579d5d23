import manifest from "../../package.json" with { type: "json" }

/** The version of this package, as `User-Agent` and `--version` tell it. */
export const version: string = manifest.version
