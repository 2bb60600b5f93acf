-- What the role of this session may do; pg_checkpoint is there from 15 on.
SELECT r.rolname::pg_catalog.text AS role, r.rolsuper AS superuser,
       r.rolbypassrls OR r.rolsuper AS bypass_rls,
       pg_catalog.pg_has_role('pg_read_all_data', 'USAGE') AS read_all_data,
       pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') AS read_all_stats,
       (SELECT pg_catalog.pg_has_role(c.oid, 'USAGE') FROM pg_catalog.pg_roles c
         WHERE c.rolname = 'pg_checkpoint') AS checkpoint
  FROM pg_catalog.pg_roles r
 WHERE r.rolname = SESSION_USER
