-- How the parts of a relation are renamed that have names of their own: statement, name now.
WITH relation AS (
       SELECT c.oid FROM pg_catalog.pg_class c
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $1 AND c.relname = $2)
SELECT pg_catalog.format('ALTER TABLE %s RENAME CONSTRAINT %I TO', k.conrelid::pg_catalog.regclass, k.conname),
       k.conname::pg_catalog.text
  FROM pg_catalog.pg_constraint k
  JOIN relation r ON r.oid = k.conrelid
 WHERE k.conparentid = 0 AND k.coninhcount = 0 AND k.contype <> 't'
UNION ALL
SELECT pg_catalog.format('ALTER INDEX %s RENAME TO', i.indexrelid::pg_catalog.regclass), c.relname::pg_catalog.text
  FROM pg_catalog.pg_index i
  JOIN relation r ON r.oid = i.indrelid
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k
                    WHERE k.conindid = i.indexrelid AND k.conrelid = r.oid)
UNION ALL
SELECT pg_catalog.format('ALTER SEQUENCE %s RENAME TO', s.oid::pg_catalog.regclass), s.relname::pg_catalog.text
  FROM pg_catalog.pg_depend d
  JOIN relation r ON r.oid = d.refobjid
  JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
 WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
   AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i')
UNION ALL
SELECT pg_catalog.format('ALTER STATISTICS %I.%I RENAME TO', n.nspname, x.stxname), x.stxname::pg_catalog.text
  FROM pg_catalog.pg_statistic_ext x
  JOIN relation r ON r.oid = x.stxrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = x.stxnamespace
 ORDER BY 2
