-- The names of relations in these schemas ($1), without those ($2) that give their places, and what
-- goes with them.
SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = ANY ($1::pg_catalog.text[]) AND c.oid <> ALL ($2::pg_catalog.oid[])
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i
                    WHERE i.indexrelid = c.oid AND i.indrelid = ANY ($2))
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
                      AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                      AND d.refobjid = ANY ($2) AND d.deptype IN ('a', 'i'))
