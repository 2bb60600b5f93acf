-- Which schemas are there, without those of the system, and whose are they?
SELECT n.nspname, r.rolname
FROM pg_catalog.pg_namespace n
JOIN pg_catalog.pg_roles r ON r.oid = n.nspowner
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND pg_catalog.pg_has_role(n.nspowner, 'USAGE')
ORDER BY 1;
