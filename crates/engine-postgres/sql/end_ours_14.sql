-- Ends the sessions of this run, and their locks with them. $1: their pids; $2: pg_dump's name.
SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(a.pid))
  FROM pg_catalog.pg_stat_activity a
 WHERE (a.pid = ANY ($1) OR a.application_name = $2) AND a.usename = SESSION_USER
   AND a.pid <> pg_catalog.pg_backend_pid()
