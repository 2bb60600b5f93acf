-- Blocks and bytes of tables, read after the snapshot and under their locks.
SELECT c.oid,
       pg_catalog.pg_relation_size(c.oid, 'main') AS heap,
       CASE WHEN c.reltoastrelid = 0 THEN 0
            ELSE COALESCE(pg_catalog.pg_relation_size(c.reltoastrelid, 'main'), 0) END AS toast
  FROM pg_catalog.pg_class c
 WHERE c.oid = ANY ($1)
