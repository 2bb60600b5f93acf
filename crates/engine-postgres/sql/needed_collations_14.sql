-- Which collations that initdb took from the operating system or from ICU do columns, domains and
-- indexes use? Those made by CREATE COLLATION are in the dictionary.
SELECT DISTINCT l.collname
FROM pg_catalog.pg_collation l
WHERE l.collnamespace = 'pg_catalog'::regnamespace
  AND l.collprovider IN ('c', 'i')
  AND l.collname NOT IN ('C', 'POSIX', 'default')
  AND (EXISTS (SELECT FROM pg_catalog.pg_attribute a
               WHERE a.attcollation = l.oid AND a.attrelid >= 16384 AND NOT a.attisdropped)
       OR EXISTS (SELECT FROM pg_catalog.pg_type t WHERE t.typcollation = l.oid AND t.oid >= 16384)
       OR EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indexrelid >= 16384 AND l.oid = ANY (i.indcollation)))
ORDER BY 1;
