-- Which tablespaces are there that we may put something into?
SELECT spcname
FROM pg_catalog.pg_tablespace
WHERE spcname <> 'pg_global' AND pg_catalog.has_tablespace_privilege(oid, 'CREATE');
