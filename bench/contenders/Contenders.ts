import type { Contender } from "./Contender.ts"
import { GraphileWorkerByRow, GraphileWorkerByStatement } from "./GraphileWorker.ts"
import { Notify } from "./Notify.ts"
import { PgBoss } from "./PgBoss.ts"

export const contenders: ReadonlyArray<Contender> = [GraphileWorkerByStatement, GraphileWorkerByRow, PgBoss, Notify]
