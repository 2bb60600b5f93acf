-- Who are we, and may we make databases?
SELECT r.rolname, r.rolsuper, r.rolsuper OR r.rolcreatedb
FROM pg_catalog.pg_roles r
WHERE r.rolname = CURRENT_USER;
