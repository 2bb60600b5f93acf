-- Foreign keys of these relations ($1) to others: kept aside, they would still forbid changes of
-- the others, or lose rows by them. How they are dropped, and how they are made again.
SELECT pg_catalog.format('ALTER TABLE %s DROP CONSTRAINT %I', k.conrelid::pg_catalog.regclass, k.conname),
       pg_catalog.format('ADD CONSTRAINT %I %s', k.conname, pg_catalog.pg_get_constraintdef(k.oid)),
       c.relname::pg_catalog.text, n.nspname::pg_catalog.text
  FROM pg_catalog.pg_constraint k
  JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE k.contype = 'f' AND k.conparentid = 0
   AND k.conrelid = ANY ($1::pg_catalog.oid[]) AND k.confrelid <> ALL ($1)
 ORDER BY 1
