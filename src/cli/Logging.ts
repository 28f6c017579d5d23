import { Cause, Effect, Layer, Logger, type LogLevel, References } from "effect"
import { TerminalCapabilities } from "effect/cli"
import type { SettingsShape } from "../services/Settings.ts"
import { layerTelemetry } from "./Telemetry.ts"

const levelColors: Readonly<Record<string, string>> = { Warn: "33", Error: "31", Fatal: "31" }

const shown = (value: unknown): string => typeof value === "string" ? value : JSON.stringify(value) ?? String(value)

/** One line an entry: time, level, message, annotations. */
const formatPretty = (colors: boolean) =>
  Logger.make<unknown, string>(({ cause, date, fiber, logLevel, message }) => {
    const paint = (code: string, text: string) => colors ? `\x1b[${code}m${text}\x1b[0m` : text
    const messages = (Array.isArray(message) ? message : [message]).map(shown)
    const reasons = cause.reasons.length === 0
      ? []
      : [Cause.prettyErrors(cause).map(({ message }) => message).join("; ")]
    const annotations = Object.entries(fiber.getRef(References.CurrentLogAnnotations))
      .map(([key, value]) => paint("2", `${key}=${shown(value)}`))
    return [
      paint("2", date.toISOString().slice(11, 23)),
      paint(levelColors[logLevel] ?? "36", logLevel.toUpperCase().padEnd(5)),
      ...messages,
      ...reasons,
      ...annotations
    ].join(" ")
  })

/** Where a command's log goes, and what it is when no setting says so. */
export interface LoggingOptions {
  readonly to: "stdout" | "stderr"
  readonly level: LogLevel.LogLevel
}

/** The process's log, and what goes to an OpenTelemetry collector. */
export const layerLogging = (settings: SettingsShape, options: LoggingOptions): Layer.Layer<never> => {
  const terminal = process[options.to].isTTY === true
  const loggers = Layer.unwrap(Effect.map(TerminalCapabilities.TerminalCapabilities, ({ canColor }) => {
    const format = (settings.logFormat ?? (terminal ? "pretty" : "json")) === "json"
      ? Logger.formatJson
      : formatPretty(terminal && canColor)
    return Logger.layer([options.to === "stdout" ? Logger.withConsoleLog(format) : Logger.withConsoleError(format)])
  }))
  const level = Layer.succeed(References.MinimumLogLevel, settings.logLevel ?? options.level)
  if (settings.otlpEndpoint === undefined) return Layer.merge(loggers, level)
  return Layer.merge(Layer.provideMerge(layerTelemetry(settings, settings.otlpEndpoint), loggers), level)
}
