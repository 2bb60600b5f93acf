-- Who is in this database, besides us?
SELECT pid, pg_catalog.format('process %s of %s (%s)', pid, coalesce(usename, backend_type), application_name)
FROM pg_catalog.pg_stat_activity
WHERE datname = $1 AND pid <> pg_catalog.pg_backend_pid()
UNION ALL
SELECT NULL, pg_catalog.format('the prepared transaction %L of %s', gid, owner)
FROM pg_catalog.pg_prepared_xacts
WHERE database = $1;
