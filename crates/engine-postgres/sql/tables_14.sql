-- The tables whose rows a backup reads, as the snapshot sees them. The other condition on them
-- stands in lockable_14.sql, and the two must name the same tables.
SELECT c.oid,
       n.nspname::pg_catalog.text AS schema,
       c.relname::pg_catalog.text AS name,
       c.relpersistence = 'u' AS unlogged,
       COALESCE(am.amhandler = 'pg_catalog.heap_tableam_handler'::pg_catalog.regproc
                AND am.amname = 'heap', false) AS heap,
       e.extname::pg_catalog.text AS extension,
       (SELECT x.condition
          FROM ROWS FROM (pg_catalog.unnest(e.extconfig), pg_catalog.unnest(e.extcondition)) AS x (relation, condition)
         WHERE x.relation = c.oid) AS condition,
       -- pg_partition_root answers NULL for what is no partition.
       CASE WHEN c.relispartition THEN pg_catalog.pg_partition_root(c.oid)::pg_catalog.oid END AS root,
       n.xmin::pg_catalog.text AS schema_version
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
  LEFT JOIN pg_catalog.pg_depend d
    ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.objsubid = 0
   AND d.deptype = 'e' AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
  LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
 WHERE c.relkind = 'r' AND c.relpersistence <> 't'
   AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
   AND (e.oid IS NULL OR c.oid = ANY (e.extconfig))
 ORDER BY c.oid
