-- Functions, types and schemas that somebody has made, named as in objects_14.sql; `identity` is
-- how DROP takes them. Not those that extensions brought.
WITH members AS (
       SELECT d.classid, d.objid FROM pg_catalog.pg_depend d WHERE d.deptype = 'e'),
     schemas AS (
       SELECT n.oid, n.nspname FROM pg_catalog.pg_namespace n
        WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%')
SELECT CASE p.prokind WHEN 'p' THEN 'PROCEDURE' WHEN 'a' THEN 'AGGREGATE' ELSE 'FUNCTION' END,
       s.nspname::pg_catalog.text,
       p.proname || '(' || COALESCE(pg_catalog.pg_get_function_identity_arguments(p.oid), '') || ')',
       i.identity
  FROM pg_catalog.pg_proc p
  JOIN schemas s ON s.oid = p.pronamespace,
       pg_catalog.pg_identify_object('pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, 0) AS i
 WHERE NOT EXISTS (SELECT FROM members m
                    WHERE m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND m.objid = p.oid)
UNION ALL
SELECT CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, s.nspname::pg_catalog.text,
       t.typname::pg_catalog.text, i.identity
  FROM pg_catalog.pg_type t
  JOIN schemas s ON s.oid = t.typnamespace
  LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid,
       pg_catalog.pg_identify_object('pg_catalog.pg_type'::pg_catalog.regclass, t.oid, 0) AS i
 WHERE (t.typtype IN ('d', 'e', 'r') OR (t.typtype = 'c' AND c.relkind = 'c')
        OR (t.typtype = 'b' AND t.typcategory <> 'A'))
   AND NOT EXISTS (SELECT FROM members m
                    WHERE m.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND m.objid = t.oid)
UNION ALL
SELECT 'SCHEMA', s.nspname::pg_catalog.text, s.nspname::pg_catalog.text, pg_catalog.quote_ident(s.nspname)
  FROM schemas s
 WHERE NOT EXISTS (SELECT FROM members m
                    WHERE m.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND m.objid = s.oid)
