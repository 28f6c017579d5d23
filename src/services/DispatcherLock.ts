/** The lock of whoever delivers: a session's advisory lock, which runners of a cluster share; see listener/Leadership.ts. */
export const dispatcherLock = "hashtext('truss.dispatcher')"

/** A query for the session that holds it alone: `pid`. */
export const dispatcherSession = `
  SELECT l.pid FROM (SELECT ${dispatcherLock}::int8 AS key) k
  JOIN pg_locks l ON l.locktype = 'advisory' AND l.mode = 'ExclusiveLock' AND l.granted AND l.objsubid = 1
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND l.classid = (k.key >> 32 & 4294967295)::oid AND l.objid = (k.key & 4294967295)::oid`
