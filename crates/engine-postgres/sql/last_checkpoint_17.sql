-- The last checkpoint: everything that has its next transaction or a later one was written behind redo.
SELECT c.redo_lsn, c.next_xid::pg_catalog.text AS next_xid,
       pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), c.redo_lsn)::pg_catalog.int8 AS since
  FROM pg_catalog.pg_control_checkpoint() c
