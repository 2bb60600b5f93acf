-- May everybody make objects in the schema public? No row: there is no such schema.
SELECT EXISTS (SELECT FROM pg_catalog.aclexplode(coalesce(nspacl, pg_catalog.acldefault('n', nspowner))) AS a
               WHERE a.grantee = 0 AND a.privilege_type = 'CREATE')
FROM pg_catalog.pg_namespace
WHERE nspname = 'public';
