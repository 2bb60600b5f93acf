-- Which extensions does this database have? plpgsql is in every database.
SELECT extname, extversion
FROM pg_catalog.pg_extension
WHERE extname <> 'plpgsql'
ORDER BY 1;
