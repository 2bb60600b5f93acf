-- Who is connected to this database, besides us?
SELECT pid, coalesce(usename, backend_type), coalesce(application_name, '')
FROM pg_catalog.pg_stat_activity
WHERE datname = $1 AND pid <> pg_catalog.pg_backend_pid()
ORDER BY pid;
