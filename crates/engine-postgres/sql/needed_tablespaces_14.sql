-- In which tablespaces, other than the database's own, does something lie?
SELECT DISTINCT t.spcname
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_tablespace t ON t.oid = c.reltablespace
WHERE t.spcname <> 'pg_global'
ORDER BY 1;
