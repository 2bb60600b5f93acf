-- May we make schemas in this database, and which of these schemas ($1) may we make objects in?
SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'),
       ARRAY(SELECT n.nspname::pg_catalog.text FROM pg_catalog.pg_namespace n
              WHERE n.nspname = ANY ($1::pg_catalog.text[])),
       ARRAY(SELECT n.nspname::pg_catalog.text FROM pg_catalog.pg_namespace n
              WHERE n.nspname = ANY ($1)
                AND NOT pg_catalog.has_schema_privilege(n.oid, 'CREATE')),
       ARRAY(SELECT n.nspname::pg_catalog.text FROM pg_catalog.pg_namespace n
              WHERE n.nspname = ANY ($1) AND NOT pg_catalog.pg_has_role(n.nspowner, 'USAGE')),
       ARRAY(SELECT p.pubname::pg_catalog.text FROM pg_catalog.pg_publication p WHERE p.puballtables ORDER BY 1),
       ARRAY(SELECT n.nspname || ' ' || e.extname FROM pg_catalog.pg_extension e
              JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
             WHERE n.nspname = ANY ($1) ORDER BY 1)
