-- Which tables hold rows to gather statistics of? A partitioned table's statistics bring those of
-- its partitions. Those of extensions may belong to somebody else.
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition
  AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
ORDER BY c.relpages DESC, 1;
