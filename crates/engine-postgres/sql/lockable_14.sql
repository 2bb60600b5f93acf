-- The tables whose rows a backup reads, by name, for LOCK: read before the snapshot is taken. Also
-- partitioned tables that pg_dump would fail to lock: they have no rows, but must be left out too.
-- What was dropped meanwhile gives NULL, and the lock will tell. $1: the rights of which one allows
-- a lock against writers; NULL where none is taken.
WITH listed AS (
       SELECT c.oid, n.nspname, c.relname, c.relkind,
              COALESCE(pg_catalog.has_schema_privilege(n.oid, 'USAGE'), true) AS may_use_schema,
              COALESCE(pg_catalog.has_table_privilege(c.oid, 'SELECT'), true) AS may_select,
              c.relkind = 'p' OR COALESCE(pg_catalog.has_table_privilege(c.oid, $1), true) AS may_lock,
              -- A table whose policies would hide rows from this role cannot be read whole.
              c.relkind = 'p'
                OR COALESCE(NOT pg_catalog.row_security_active(c.oid), true) AS sees_all_rows
         FROM pg_catalog.pg_class c
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         LEFT JOIN pg_catalog.pg_depend d
           ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
          AND d.objsubid = 0 AND d.deptype = 'e'
          AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
         LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
        WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
          AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
          AND (e.oid IS NULL OR (c.relkind = 'r' AND c.oid = ANY (e.extconfig))))
SELECT oid, nspname::pg_catalog.text, relname::pg_catalog.text,
       may_use_schema, may_select, sees_all_rows, may_lock
  FROM listed
 WHERE relkind = 'r' OR NOT (may_use_schema AND may_select)
 ORDER BY oid
