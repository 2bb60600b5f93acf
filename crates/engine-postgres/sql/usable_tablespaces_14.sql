-- Which tablespaces are there, and may we put something into them?
SELECT spcname, pg_catalog.has_tablespace_privilege(oid, 'CREATE')
FROM pg_catalog.pg_tablespace
WHERE spcname <> 'pg_global';
