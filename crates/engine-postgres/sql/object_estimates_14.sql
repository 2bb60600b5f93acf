-- The same without any lock, as of the last VACUUM or ANALYZE.
SELECT c.oid, (GREATEST(c.relpages, 0) + GREATEST(COALESCE(t.relpages, 0), 0))::pg_catalog.int8
              * pg_catalog.current_setting('block_size')::pg_catalog.int8
  FROM pg_catalog.pg_class c
  LEFT JOIN pg_catalog.pg_class t ON t.oid = c.reltoastrelid
 WHERE c.oid = ANY ($1)
