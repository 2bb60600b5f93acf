-- The databases of a server; a size only where the role may connect or has pg_read_all_stats.
SELECT d.datname::pg_catalog.text,
       CASE WHEN pg_catalog.has_database_privilege(d.oid, 'CONNECT')
              OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')
            THEN pg_catalog.pg_database_size(d.oid) END
  FROM pg_catalog.pg_database d
 WHERE NOT d.datistemplate AND d.datallowconn
 ORDER BY d.datname
