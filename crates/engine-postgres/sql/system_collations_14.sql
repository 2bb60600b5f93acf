-- Which collations has the operating system or ICU given to this server?
SELECT collname
FROM pg_catalog.pg_collation
WHERE collnamespace = 'pg_catalog'::regnamespace AND collname = ANY ($1);
