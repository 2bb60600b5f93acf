-- Which roles own something in this database? The owners of what extensions bring are not needed:
-- CREATE EXTENSION chooses them; nor those of what comes with another object (a range's functions
-- belong to the first superuser). Extensions themselves have no restorable owner.
-- Pinned owners (the bootstrap superuser) have no entry in pg_shdepend, so that each catalog with
-- owners is asked.
WITH owned (classid, objid, owner) AS (
    SELECT 'pg_catalog.pg_class'::regclass, oid, relowner FROM pg_catalog.pg_class
    UNION ALL SELECT 'pg_catalog.pg_namespace'::regclass, oid, nspowner FROM pg_catalog.pg_namespace
    UNION ALL SELECT 'pg_catalog.pg_proc'::regclass, oid, proowner FROM pg_catalog.pg_proc
    -- A multirange type belongs to whoever has its range.
    UNION ALL SELECT 'pg_catalog.pg_type'::regclass, oid, typowner FROM pg_catalog.pg_type WHERE typtype <> 'm'
    UNION ALL SELECT 'pg_catalog.pg_collation'::regclass, oid, collowner FROM pg_catalog.pg_collation
    UNION ALL SELECT 'pg_catalog.pg_conversion'::regclass, oid, conowner FROM pg_catalog.pg_conversion
    UNION ALL SELECT 'pg_catalog.pg_operator'::regclass, oid, oprowner FROM pg_catalog.pg_operator
    UNION ALL SELECT 'pg_catalog.pg_opclass'::regclass, oid, opcowner FROM pg_catalog.pg_opclass
    UNION ALL SELECT 'pg_catalog.pg_opfamily'::regclass, oid, opfowner FROM pg_catalog.pg_opfamily
    UNION ALL SELECT 'pg_catalog.pg_language'::regclass, oid, lanowner FROM pg_catalog.pg_language
    UNION ALL SELECT 'pg_catalog.pg_ts_dict'::regclass, oid, dictowner FROM pg_catalog.pg_ts_dict
    UNION ALL SELECT 'pg_catalog.pg_ts_config'::regclass, oid, cfgowner FROM pg_catalog.pg_ts_config
    UNION ALL SELECT 'pg_catalog.pg_foreign_data_wrapper'::regclass, oid, fdwowner FROM pg_catalog.pg_foreign_data_wrapper
    UNION ALL SELECT 'pg_catalog.pg_foreign_server'::regclass, oid, srvowner FROM pg_catalog.pg_foreign_server
    UNION ALL SELECT 'pg_catalog.pg_event_trigger'::regclass, oid, evtowner FROM pg_catalog.pg_event_trigger
    UNION ALL SELECT 'pg_catalog.pg_publication'::regclass, oid, pubowner FROM pg_catalog.pg_publication
    UNION ALL SELECT 'pg_catalog.pg_statistic_ext'::regclass, oid, stxowner FROM pg_catalog.pg_statistic_ext
    UNION ALL SELECT 'pg_catalog.pg_largeobject'::regclass, oid, lomowner FROM pg_catalog.pg_largeobject_metadata
)
SELECT r.rolname
FROM (
    SELECT o.owner
    FROM owned o
    LEFT JOIN pg_catalog.pg_class c
           ON o.classid = 'pg_catalog.pg_class'::regclass AND c.oid = o.objid
    -- OIDs below 16384 are the system's own.
    WHERE o.objid >= 16384
      AND coalesce(c.relkind, 'r') NOT IN ('t', 'i', 'I')
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                      WHERE d.classid = o.classid AND d.objid = o.objid AND d.deptype IN ('e', 'i'))
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_namespace n
                      WHERE n.oid = c.relnamespace AND n.nspname LIKE 'pg\_temp\_%')
    UNION
    -- The schema public is the system's, but may have been given to somebody.
    SELECT nspowner FROM pg_catalog.pg_namespace
    WHERE nspname = 'public' AND nspowner <> 10
      AND nspowner IS DISTINCT FROM (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = 'pg_database_owner')
    UNION
    SELECT datdba FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()
) AS used (owner)
JOIN pg_catalog.pg_roles r ON r.oid = used.owner
ORDER BY 1;
