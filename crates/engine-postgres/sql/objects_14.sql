-- All objects of a database that a person would look for, with what they are in. The condition
-- on schemas is pg_dump's; what belongs to an extension comes with the extension. `goes_with`: the
-- table of an index or trigger; `bare`: a function's name without the types of its arguments.
WITH members AS (
       SELECT d.classid, d.objid FROM pg_catalog.pg_depend d
        WHERE d.deptype = 'e' AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass),
     schemas AS (
       SELECT n.oid, n.nspname FROM pg_catalog.pg_namespace n
        WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%')
SELECT c.oid, s.nspname::pg_catalog.text AS schema, c.relname::pg_catalog.text AS name,
       CASE c.relkind WHEN 'r' THEN 'TABLE' WHEN 'p' THEN 'TABLE' WHEN 'v' THEN 'VIEW'
            WHEN 'm' THEN 'MATERIALIZED_VIEW' WHEN 'S' THEN 'SEQUENCE'
            WHEN 'f' THEN 'FOREIGN_TABLE' ELSE 'INDEX' END AS kind,
       t.relname::pg_catalog.text AS parent, i.indrelid AS goes_with, NULL AS bare
  FROM pg_catalog.pg_class c
  JOIN schemas s ON s.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
  LEFT JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
  LEFT JOIN members x ON x.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND x.objid = i.indrelid
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'i', 'I') AND c.relpersistence <> 't'
   AND NOT EXISTS (SELECT FROM members m
                    WHERE m.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND m.objid = c.oid)
   -- An index of an extension's table comes with the extension too.
   AND x.objid IS NULL
UNION ALL
SELECT p.oid, s.nspname::pg_catalog.text,
       p.proname || '(' || COALESCE(pg_catalog.pg_get_function_identity_arguments(p.oid), '') || ')',
       CASE p.prokind WHEN 'p' THEN 'PROCEDURE' WHEN 'a' THEN 'AGGREGATE' ELSE 'FUNCTION' END, NULL,
       NULL, p.proname::pg_catalog.text
  FROM pg_catalog.pg_proc p
  JOIN schemas s ON s.oid = p.pronamespace
 WHERE NOT EXISTS (SELECT FROM members m
                    WHERE m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND m.objid = p.oid)
UNION ALL
SELECT t.oid, s.nspname::pg_catalog.text, t.typname::pg_catalog.text,
       CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, NULL, NULL, NULL
  FROM pg_catalog.pg_type t
  JOIN schemas s ON s.oid = t.typnamespace
  LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
 -- Without array types, multiranges, and the row types of tables.
 WHERE (t.typtype IN ('d', 'e', 'r') OR (t.typtype = 'c' AND c.relkind = 'c')
        OR (t.typtype = 'b' AND t.typcategory <> 'A'))
   AND NOT EXISTS (SELECT FROM members m
                    WHERE m.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND m.objid = t.oid)
UNION ALL
SELECT g.oid, s.nspname::pg_catalog.text, g.tgname::pg_catalog.text, 'TRIGGER', c.relname::pg_catalog.text,
       c.oid, NULL
  FROM pg_catalog.pg_trigger g
  JOIN pg_catalog.pg_class c ON c.oid = g.tgrelid
  JOIN schemas s ON s.oid = c.relnamespace
 WHERE NOT g.tgisinternal
   AND NOT EXISTS (SELECT FROM members m
                    WHERE m.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND m.objid = c.oid)
UNION ALL
SELECT s.oid, NULL, s.nspname::pg_catalog.text, 'SCHEMA', NULL, NULL, NULL FROM schemas s
 WHERE NOT EXISTS (SELECT FROM members m
                    WHERE m.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND m.objid = s.oid)
UNION ALL
SELECT e.oid, NULL, e.extname::pg_catalog.text, 'EXTENSION', NULL, NULL, NULL
  FROM pg_catalog.pg_extension e WHERE e.extname <> 'plpgsql'
 ORDER BY 4, 2, 3, 1
