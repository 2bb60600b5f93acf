-- Is a database of that name there, may it be looked into, and is it ours to rename?
SELECT d.oid, d.datistemplate,
       d.datallowconn AND pg_catalog.has_database_privilege(d.oid, 'CONNECT'),
       pg_catalog.pg_has_role(d.datdba, 'USAGE'),
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity a
        WHERE a.datid = d.oid AND a.pid <> pg_catalog.pg_backend_pid())
FROM pg_catalog.pg_database d
WHERE d.datname = $1;
