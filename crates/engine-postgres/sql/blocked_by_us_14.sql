-- Who waits for a lock of this run, of which mode, and for how long. $1: the pids of our sessions; $2: the name
-- that pg_dump shows itself as, which no other run has.
WITH ours AS (
       SELECT a.pid FROM pg_catalog.pg_stat_activity a
        WHERE a.pid = ANY ($1) OR a.application_name = $2),
     waiting AS (
       SELECT l.pid, pg_catalog.min(l.waitstart) AS since, pg_catalog.min(l.mode) AS mode
         FROM pg_catalog.pg_locks l
        WHERE NOT l.granted AND l.pid IS NOT NULL
        GROUP BY l.pid)
SELECT w.pid,
       COALESCE(pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - w.since), 0)::pg_catalog.float8 AS seconds,
       a.usename::pg_catalog.text AS role, a.application_name, a.query, w.mode
  FROM waiting w
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = w.pid
 WHERE pg_catalog.pg_blocking_pids(w.pid) && (SELECT pg_catalog.array_agg(o.pid) FROM ours o)
   AND w.pid NOT IN (SELECT o.pid FROM ours o)
 ORDER BY seconds DESC
