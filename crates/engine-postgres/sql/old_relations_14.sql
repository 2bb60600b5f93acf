-- Relations of these names ($1 schemas, $2 names) and all that is in these schemas ($3), with the
-- partitions below them: what gives its place to what is restored.
WITH RECURSIVE old (oid) AS (
       SELECT c.oid
         FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[])) AS w (schema, name)
         JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
         JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
       UNION
       SELECT c.oid FROM pg_catalog.pg_class c
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = ANY ($3::pg_catalog.text[]) AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
       UNION
       SELECT i.inhrelid FROM old o
         JOIN pg_catalog.pg_class p ON p.oid = o.oid AND p.relkind = 'p'
         JOIN pg_catalog.pg_inherits i ON i.inhparent = o.oid)
SELECT c.oid, n.nspname::pg_catalog.text, c.relname::pg_catalog.text, c.relkind::pg_catalog.text,
       r.rolname::pg_catalog.text, pg_catalog.pg_has_role(c.relowner, 'USAGE'),
       -- A sequence of a table goes with it.
       EXISTS (SELECT FROM pg_catalog.pg_depend d
                WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
                  AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                  AND d.deptype IN ('a', 'i') AND c.relkind = 'S') AS goes_with_another,
       CASE WHEN c.relkind IN ('i', 'I', 'c', 't') THEN 'is no table, view or sequence'
            WHEN EXISTS (SELECT FROM pg_catalog.pg_depend d
                          WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                            AND d.objid = c.oid AND d.deptype = 'e') THEN 'belongs to an extension'
            WHEN c.relispartition AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i
                          JOIN old p ON p.oid = i.inhparent WHERE i.inhrelid = c.oid)
                 THEN 'is a partition of ' || (SELECT i.inhparent::pg_catalog.regclass::pg_catalog.text
                          FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid)
            WHEN EXISTS (SELECT FROM pg_catalog.pg_subscription_rel s WHERE s.srrelid = c.oid)
                 THEN 'is filled by a subscription' END
  FROM old o
  JOIN pg_catalog.pg_class c ON c.oid = o.oid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
 ORDER BY n.nspname, c.relname
