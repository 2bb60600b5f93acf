-- Which roles do access lists (of objects, of the database, default ones), default privileges,
-- policies and user mappings of this database name? pg_shdepend knows them all.
SELECT DISTINCT r.rolname
FROM pg_catalog.pg_shdepend d
JOIN pg_catalog.pg_roles r ON d.refclassid = 'pg_catalog.pg_authid'::regclass AND r.oid = d.refobjid
JOIN pg_catalog.pg_database b ON b.datname = pg_catalog.current_database()
WHERE (d.dbid = b.oid OR (d.classid = 'pg_catalog.pg_database'::regclass AND d.objid = b.oid))
  AND (d.deptype IN ('a', 'r')
       OR d.classid IN ('pg_catalog.pg_user_mapping'::regclass, 'pg_catalog.pg_default_acl'::regclass))
UNION
SELECT r.rolname
FROM pg_catalog.pg_db_role_setting s
JOIN pg_catalog.pg_database b ON b.oid = s.setdatabase AND b.datname = pg_catalog.current_database()
JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
ORDER BY 1;
