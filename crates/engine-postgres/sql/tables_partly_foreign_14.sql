-- Which tables have a foreign one below them, by inheritance or as a partition?
WITH RECURSIVE far (oid) AS (
    SELECT oid FROM pg_catalog.pg_class WHERE relkind = 'f'
    UNION
    SELECT i.inhparent FROM pg_catalog.pg_inherits i JOIN far ON far.oid = i.inhrelid
)
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
FROM far
JOIN pg_catalog.pg_class c ON c.oid = far.oid AND c.relkind IN ('r', 'p')
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
ORDER BY 1;
