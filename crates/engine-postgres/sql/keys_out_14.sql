-- Foreign keys of the tables in these schemas to tables that are in none of them.
SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, k.conname::pg_catalog.text,
       pg_catalog.pg_get_constraintdef(k.oid), k.confrelid::pg_catalog.regclass::pg_catalog.text,
       c.relkind = 'p'
  FROM pg_catalog.pg_constraint k
  JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_class f ON f.oid = k.confrelid
  JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace
 WHERE k.contype = 'f' AND k.conparentid = 0
   AND n.nspname = ANY ($1::pg_catalog.text[]) AND fn.nspname <> ALL ($1)
 ORDER BY 1, 2, 3
