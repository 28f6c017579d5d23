import initial from "./0001_initial.ts"
import guarantees from "./0002_guarantees.ts"
import runners from "./0003_runners.ts"
import idempotency from "./0004_idempotency.ts"
import encryption from "./0005_encryption.ts"
import sessions from "./0006_sessions.ts"
import unsuccessful from "./0007_unsuccessful.ts"
import cluster from "./0008_cluster.ts"
import partitions from "./0009_partitions.ts"
import handovers from "./0010_handovers.ts"
import subscribers from "./0011_subscribers.ts"

/** Every migration by its name; a name that was released never changes. */
export const migrations = {
  "0001_initial": initial,
  "0002_guarantees": guarantees,
  "0003_runners": runners,
  "0004_idempotency": idempotency,
  "0005_encryption": encryption,
  "0006_sessions": sessions,
  "0007_unsuccessful": unsuccessful,
  "0008_cluster": cluster,
  "0009_partitions": partitions,
  "0010_handovers": handovers,
  "0011_subscribers": subscribers
}
