import { type Contender, eventOf, insertTrigger } from "./Contender.ts"

const queue = "deliver"

/**
 * Two workers, so that one fetches and completes while the other's requests are under way; both share the sender's
 * connections, which is what keeps so many in flight. A worker with a full batch fetches the next one at once.
 */
const work = { batchSize: 250, localConcurrency: 2, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 }

const start: Contender["start"] = async (connectionString, deliver) => {
  const { PgBoss: Boss } = await import("pg-boss")
  const boss = new Boss({ connectionString, useListenNotify: true, schedule: false })
  boss.on("error", (error) => process.stderr.write(`pg-boss: ${error.message}\n`))
  await boss.start()
  await boss.createQueue(queue, { notify: true })
  await boss.work<object>(queue, work, async (jobs) => {
    await Promise.all(jobs.map(({ data }) => deliver(JSON.stringify(data))))
  })
  return { close: () => boss.stop() }
}

/**
 * Jobs by INSERT, which https://pgboss.io/sql offers for triggers, a statement's rows at once, and the notification that
 * its own `insert` sends on a queue with `notify`.
 */
export const PgBoss: Contender = {
  name: "pg-boss, batches",
  durable: true,
  start,
  trigger: insertTrigger(
    "STATEMENT",
    `INSERT INTO pgboss.job (name, data, policy) SELECT '${queue}', ${eventOf("i")}, 'standard' FROM inserted i;
    PERFORM pg_notify('pgboss_' || left(encode(sha224('pgboss'::bytea), 'hex'), 24), '${queue}');`
  ),
  left: `SELECT EXISTS (SELECT FROM pgboss.job WHERE name = '${queue}' AND state <> 'completed') AS left`,
  tidy: [`DELETE FROM pgboss.job WHERE name = '${queue}'`]
}
