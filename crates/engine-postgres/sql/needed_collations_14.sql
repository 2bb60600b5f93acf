-- Which collations that initdb took from the operating system or from ICU do columns, domains and
-- indexes use? Those made by CREATE COLLATION are in the dictionary.
WITH used (oid) AS (
    SELECT attcollation FROM pg_catalog.pg_attribute WHERE attrelid >= 16384 AND NOT attisdropped
    UNION
    SELECT typcollation FROM pg_catalog.pg_type WHERE oid >= 16384
    UNION
    SELECT c.oid FROM pg_catalog.pg_index i, pg_catalog.unnest(i.indcollation) AS c (oid)
     WHERE i.indexrelid >= 16384
)
SELECT l.collname
FROM used
JOIN pg_catalog.pg_collation l ON l.oid = used.oid
WHERE l.collnamespace = 'pg_catalog'::regnamespace
  AND l.collprovider IN ('c', 'i')
  AND l.collname NOT IN ('C', 'POSIX', 'default')
GROUP BY l.collname
ORDER BY 1;
