-- What cannot be made where these relations ($1) are not: views over them, tables that inherit from
-- them (their partitions too), and so on; and one of those that it needs.
WITH RECURSIVE left_out (oid, through) AS (
       SELECT t.oid, NULL::pg_catalog.oid FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS t (oid)
       UNION
       SELECT needing.oid, l.oid
         FROM left_out l
         JOIN (SELECT r.ev_class AS oid, d.refobjid AS needed
                 FROM pg_catalog.pg_depend d
                 JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
                 JOIN pg_catalog.pg_class v ON v.oid = r.ev_class AND v.relkind IN ('v', 'm')
                WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
                  AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                  AND r.ev_class <> d.refobjid
               UNION ALL
               SELECT i.inhrelid, i.inhparent FROM pg_catalog.pg_inherits i) AS needing
           ON needing.needed = l.oid)
SELECT c.oid, n.nspname::pg_catalog.text, c.relname::pg_catalog.text,
       m.nspname::pg_catalog.text, o.relname::pg_catalog.text, o.oid
  FROM (SELECT a.oid, pg_catalog.min(a.through) AS through
          FROM left_out a WHERE a.through IS NOT NULL GROUP BY a.oid) AS l
  JOIN pg_catalog.pg_class c ON c.oid = l.oid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_class o ON o.oid = l.through
  JOIN pg_catalog.pg_namespace m ON m.oid = o.relnamespace
 WHERE c.oid <> ALL ($1) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
 ORDER BY c.oid
