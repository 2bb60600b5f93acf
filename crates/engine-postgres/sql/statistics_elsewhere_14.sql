-- How extended statistics follow their tables into these schemas.
SELECT pg_catalog.format('ALTER STATISTICS %I.%I SET SCHEMA %I', n.nspname, x.stxname, t.nspname)
  FROM pg_catalog.pg_statistic_ext x
  JOIN pg_catalog.pg_class c ON c.oid = x.stxrelid
  JOIN pg_catalog.pg_namespace t ON t.oid = c.relnamespace
  JOIN pg_catalog.pg_namespace n ON n.oid = x.stxnamespace
 WHERE t.nspname = ANY ($1::pg_catalog.text[]) AND n.oid <> t.oid
