import { inFlight } from "../RowBurst.ts"
import { type Contender, eventOf, insertTrigger } from "./Contender.ts"

/**
 * The batching of https://worker.graphile.org/docs/performance, with its own benchmark's local queue, and the lanes that
 * all senders have here. The pool is as large as it advises, `concurrentJobs + 2`.
 */
const worker = {
  concurrentJobs: inFlight,
  maxPoolSize: inFlight + 2,
  localQueue: { size: 500 },
  completeJobBatchDelay: 0,
  failJobBatchDelay: 0
}

const start: Contender["start"] = async (connectionString, deliver) => {
  const { Logger, run, WorkerPreset } = await import("graphile-worker")
  // By default it writes a line for each job.
  const logger = new Logger(() => (level, message) => {
    if (level === "error" || level === "warning") process.stderr.write(`graphile-worker: ${message}\n`)
  })
  const runner = await run({
    preset: { extends: [WorkerPreset], worker: { ...worker, connectionString, logger } },
    taskList: { deliver: (payload) => deliver(JSON.stringify(payload)) },
    parsedCronItems: [],
    noHandleSignals: true
  })
  return { close: () => runner.stop() }
}

const graphileWorker = (name: string, trigger: ReadonlyArray<string>): Contender => ({
  name,
  durable: true,
  start,
  trigger,
  left: "SELECT EXISTS (SELECT FROM graphile_worker.jobs) AS left"
})

/** A job a row, as its documentation shows for triggers. */
export const GraphileWorkerByRow = graphileWorker(
  "graphile-worker, add_job a row",
  insertTrigger("ROW", `PERFORM graphile_worker.add_job('deliver', ${eventOf("NEW")});`)
)

/** One call for all rows of a statement. */
export const GraphileWorkerByStatement = graphileWorker(
  "graphile-worker, add_jobs a statement",
  insertTrigger(
    "STATEMENT",
    `PERFORM graphile_worker.add_jobs(ARRAY(
      SELECT ('deliver', ${eventOf("i")}, NULL, NULL, NULL, NULL, NULL, NULL)::graphile_worker.job_spec FROM inserted i
    ));`
  )
)
