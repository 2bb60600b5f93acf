-- Which tables hold rows to gather statistics of? A partitioned table's statistics bring those of
-- its partitions. Those of extensions may belong to somebody else. ANALYZE of a table that has a
-- foreign one below it would connect to that one's server: only the parts that are here are taken.
WITH RECURSIVE far (oid) AS (
    SELECT oid FROM pg_catalog.pg_class WHERE relkind = 'f'
    UNION
    SELECT i.inhparent FROM pg_catalog.pg_inherits i JOIN far ON far.oid = i.inhrelid
)
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'm')
  AND c.oid NOT IN (SELECT oid FROM far)
  AND (NOT c.relispartition
       OR EXISTS (SELECT FROM pg_catalog.pg_inherits i
                  WHERE i.inhrelid = c.oid AND i.inhparent IN (SELECT oid FROM far)))
  AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
ORDER BY c.relpages DESC, 1;
