-- Which tables still lack statistics after those of a dump were restored? It holds none of
-- extended statistics, and none of tables that were never analysed. A table that has a foreign one
-- below it is left out, because ANALYZE would connect to that one's server.
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
  AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
  AND ((n.nspname, c.relname) NOT IN (SELECT schemaname, tablename FROM pg_catalog.pg_stats)
       OR EXISTS (SELECT FROM pg_catalog.pg_statistic_ext x WHERE x.stxrelid = c.oid))
ORDER BY c.relpages DESC, 1;
