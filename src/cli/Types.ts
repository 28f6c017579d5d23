import { Console, Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { readTableShape } from "../services/TableShape.ts"
import { refusalOf, refusalOfSchema } from "../services/WatchedTable.ts"
import { layerExisting } from "./DatabaseSource.ts"
import { CommandFailed } from "./Failure.ts"
import { databaseFlags, withSettings } from "./Flags.ts"
import { tableFlag } from "./TableFlags.ts"
import { typeNameOf, typeScriptTypes } from "./TypeScriptTypes.ts"

/** `truss-webhooks types` */
export const typesCommand = Command.make(
  "types",
  {
    ...databaseFlags,
    table: tableFlag,
    name: Flag.String("name").pipe(
      Flag.filter(
        (name) => /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(name),
        (name) => `--name must be a name of TypeScript, such as Order, not ${JSON.stringify(name)}`
      ),
      Flag.withDescription("What the names of the types begin with (default: the table's, order_lines as OrderLines)"),
      Flag.withMetavar("NAME"),
      Flag.optional
    ),
    typesOnly: Flag.Boolean("types-only").pipe(
      Flag.withDescription("Leave out the Effect Schema: the types alone need no library"),
      Flag.withDefault(false)
    )
  },
  ({ name, table: { table_name, table_schema }, typesOnly, ...flags }) =>
    withSettings(flags, (settings) =>
      Effect.gen(function*() {
        const label = `${table_schema}.${table_name}`
        const shape = yield* readTableShape(table_schema, table_name)
        if (shape === undefined) {
          return yield* new CommandFailed({ lines: [`--table: there is no table ${label} in this database`] })
        }
        const refusal = refusalOfSchema(table_schema, label) ??
          refusalOf(label, { ...shape, foreign: null, no_trigger: null, foreign_partition: null })
        if (refusal !== undefined) return yield* new CommandFailed({ lines: [`--table: ${refusal.detail}`] })
        yield* Console.log(typeScriptTypes({
          schema: table_schema,
          table: table_name,
          shape,
          name: Option.getOrElse(name, () => typeNameOf(table_name)),
          withSchema: !typesOnly
        }))
      }).pipe(Effect.provide(layerExisting(settings))))
).pipe(
  Command.withDescription(
    "Print TypeScript types and an Effect Schema of a table's deliveries, from the database's catalog. Needs no right to " +
      "the table itself, and changes nothing"
  ),
  Command.withShortDescription("Print TypeScript types of a table's deliveries"),
  Command.withExamples([
    { command: "truss-webhooks types --table public.orders > src/orders.ts" },
    {
      command: "truss-webhooks types --table orders --name Order --types-only",
      description: "OrderRow, OrderKey and OrderChange, without Effect"
    }
  ])
)
