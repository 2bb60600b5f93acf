-- Bytes of relations with everything that belongs to them. A relation that somebody holds an
-- exclusive lock on would make it wait: lock_timeout bounds that.
SELECT c.oid, pg_catalog.pg_table_size(c.oid)
  FROM pg_catalog.pg_class c
 WHERE c.oid = ANY ($1)
