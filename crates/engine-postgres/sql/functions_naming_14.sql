-- Functions whose text holds one of these names ($1), in these schemas ($2; empty: in all), with
-- the name. A body that PostgreSQL itself has read follows a rename.
SELECT p.oid::pg_catalog.regprocedure::pg_catalog.text, w.name
  FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace,
       pg_catalog.unnest($1::pg_catalog.text[]) AS w (name)
 WHERE p.oid >= 16384 AND p.prosqlbody IS NULL
   AND pg_catalog.strpos(pg_catalog.lower(p.prosrc), pg_catalog.lower(w.name)) > 0
   AND (pg_catalog.cardinality($2::pg_catalog.text[]) = 0 OR n.nspname = ANY ($2))
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                    WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid
                      AND d.deptype = 'e')
 ORDER BY 1, 2
