-- Who holds a lock of any kind on these relations ($1), besides us?
SELECT DISTINCT pg_catalog.format('process %s of %s (%s) uses %s', l.pid, a.usename, a.application_name,
           l.relation::pg_catalog.regclass)
  FROM pg_catalog.pg_locks l
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'relation' AND l.granted AND l.relation = ANY ($1::pg_catalog.oid[])
   AND l.pid <> pg_catalog.pg_backend_pid()
   AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
 LIMIT 5
