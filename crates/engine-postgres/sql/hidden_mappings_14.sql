-- Which user mappings have options that this role may not see, so that pg_dump leaves them out?
-- The condition is that of the view pg_user_mappings.
SELECT pg_catalog.format('%s on server %I', CASE m.umuser WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(m.usename) END, m.srvname)
  FROM pg_catalog.pg_user_mappings m
  JOIN pg_catalog.pg_foreign_server s ON s.oid = m.srvid
 WHERE NOT COALESCE(
         m.umuser <> 0 AND m.usename = current_user
           AND (pg_catalog.pg_has_role(s.srvowner, 'USAGE') OR pg_catalog.has_server_privilege(s.oid, 'USAGE'))
         OR m.umuser = 0 AND pg_catalog.pg_has_role(s.srvowner, 'USAGE')
         OR (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user), false)
 ORDER BY 1
