-- Does this database hold anything that somebody has made? OIDs below 16384 are the system's own.
SELECT what
FROM (
    SELECT 'relation ' || oid::regclass::text FROM pg_catalog.pg_class
              WHERE oid >= 16384 AND relkind NOT IN ('t', 'i', 'I')
    UNION ALL SELECT 'function ' || proname FROM pg_catalog.pg_proc WHERE oid >= 16384
    UNION ALL SELECT 'type ' || typname FROM pg_catalog.pg_type WHERE oid >= 16384
    UNION ALL SELECT 'schema ' || nspname FROM pg_catalog.pg_namespace
              WHERE oid >= 16384 AND nspname !~ '^pg_(toast_)?temp_'
    UNION ALL SELECT 'extension ' || extname FROM pg_catalog.pg_extension WHERE oid >= 16384
    UNION ALL SELECT 'large object ' || oid FROM pg_catalog.pg_largeobject_metadata
    UNION ALL SELECT 'publication ' || pubname FROM pg_catalog.pg_publication
) AS held (what)
ORDER BY what LIKE 'relation %' DESC, what
LIMIT 3;
