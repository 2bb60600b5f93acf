-- Which schemas are there, without those of the system?
SELECT nspname
FROM pg_catalog.pg_namespace
WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
ORDER BY 1;
