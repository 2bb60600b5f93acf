-- ALTER DATABASE ... SET and ALTER ROLE ... IN DATABASE ... SET of this database.
SELECT r.rolname::pg_catalog.text, s.setting
  FROM pg_catalog.pg_db_role_setting x
  JOIN pg_catalog.pg_database d ON d.oid = x.setdatabase
  LEFT JOIN pg_catalog.pg_roles r ON r.oid = x.setrole
 CROSS JOIN LATERAL pg_catalog.unnest(x.setconfig) WITH ORDINALITY AS s (setting, place)
 WHERE d.datname = pg_catalog.current_database() AND (x.setrole = 0 OR r.oid IS NOT NULL)
 ORDER BY r.rolname NULLS FIRST, s.place
