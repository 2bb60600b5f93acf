-- Which materialized views are there, those first that others are made from, directly or through
-- plain views? A view depends on what its rule reads.
WITH RECURSIVE reads (viewer, viewed) AS (
    SELECT DISTINCT r.ev_class, d.refobjid
    FROM pg_catalog.pg_rewrite r
    JOIN pg_catalog.pg_depend d
      ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
     AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> r.ev_class
    JOIN pg_catalog.pg_class c ON c.oid = d.refobjid AND c.relkind IN ('m', 'v')
    JOIN pg_catalog.pg_class v ON v.oid = r.ev_class AND v.relkind IN ('m', 'v')
    WHERE r.ev_class >= 16384 AND d.refobjid >= 16384
),
depth (oid, steps) AS (
    SELECT oid, 0 FROM pg_catalog.pg_class WHERE relkind = 'm' AND oid >= 16384
    UNION
    SELECT reads.viewer, depth.steps + 1
    FROM depth JOIN reads ON reads.viewed = depth.oid
    -- Views cannot read each other in a circle, except through functions, which are not seen here.
    WHERE depth.steps < 1000
)
SELECT n.nspname, c.relname
FROM depth
JOIN pg_catalog.pg_class c ON c.oid = depth.oid AND c.relkind = 'm'
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
GROUP BY n.nspname, c.relname
ORDER BY pg_catalog.max(depth.steps), n.nspname, c.relname;
