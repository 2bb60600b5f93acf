-- How many large objects, and what is in them? Zeros at a page's end may also be a hole: both read
-- the same, so neither counts.
SELECT (SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata),
       coalesce(pg_catalog.sum(pg_catalog.hashtextextended(
           loid::pg_catalog.text || ':' || pageno::pg_catalog.text || ':'
               || pg_catalog.encode(pg_catalog.rtrim(data, '\x00'::pg_catalog.bytea), 'hex'),
           0)::pg_catalog.numeric), 0)::pg_catalog.text
FROM pg_catalog.pg_largeobject
WHERE pg_catalog.length(pg_catalog.rtrim(data, '\x00'::pg_catalog.bytea)) > 0
