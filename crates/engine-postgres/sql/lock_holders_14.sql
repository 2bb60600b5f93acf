-- Who holds, or waits for, a lock on these relations ($1) of the modes that keep us out ($2), and
-- whom the waiting ones wait for.
WITH conflicting AS (
       SELECT l.pid, l.relation, l.granted, l.mode
         FROM pg_catalog.pg_locks l
        WHERE l.locktype = 'relation' AND l.mode = ANY ($2)
          AND l.relation = ANY ($1)
          AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d
                             WHERE d.datname = pg_catalog.current_database())),
     blockers AS (
       SELECT DISTINCT pg_catalog.unnest(pg_catalog.pg_blocking_pids(c.pid)) AS pid
         FROM conflicting c WHERE NOT c.granted AND c.pid IS NOT NULL)
SELECT c.pid, CASE WHEN c.granted THEN 'holds' ELSE 'waits for' END AS what,
       n.nspname::pg_catalog.text AS schema, r.relname::pg_catalog.text AS name,
       a.usename::pg_catalog.text AS role, a.application_name, a.query, c.mode
  FROM conflicting c
  JOIN pg_catalog.pg_class r ON r.oid = c.relation
  JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = c.pid
UNION ALL
SELECT b.pid, 'blocks it', NULL, NULL, a.usename::pg_catalog.text, a.application_name, a.query, ''
  FROM blockers b
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid
 WHERE b.pid NOT IN (SELECT c.pid FROM conflicting c WHERE c.pid IS NOT NULL)
 LIMIT 10
