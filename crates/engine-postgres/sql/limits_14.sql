-- Connections and locks: how many there are, and how many a run takes.
WITH setting AS (
       SELECT pg_catalog.current_setting('max_connections')::pg_catalog.int8 AS most,
              pg_catalog.current_setting('superuser_reserved_connections')::pg_catalog.int8
              -- reserved_connections is there from 16 on.
              + COALESCE(pg_catalog.current_setting('reserved_connections', true)::pg_catalog.int8, 0) AS reserved,
              pg_catalog.current_setting('max_prepared_transactions')::pg_catalog.int8 AS prepared,
              pg_catalog.current_setting('max_locks_per_transaction')::pg_catalog.int8 AS locks_each)
SELECT s.most, s.locks_each,
       s.most - s.reserved - (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity a
                               WHERE a.backend_type = 'client backend'
                                 AND a.pid <> pg_catalog.pg_backend_pid()) AS free,
       (s.most + s.prepared) * s.locks_each AS lock_room,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.oid >= 16384) AS tables
  FROM setting s
