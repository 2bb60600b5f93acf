-- The files that tables lie in, read under their locks: a TRUNCATE takes another file.
SELECT c.oid, pg_catalog.pg_relation_filenode(c.oid::pg_catalog.regclass) AS relfilenode,
       CASE c.reltablespace WHEN 0 THEN d.dattablespace ELSE c.reltablespace END AS tablespace
  FROM pg_catalog.pg_class c
 CROSS JOIN pg_catalog.pg_database d
 WHERE c.oid = ANY ($1) AND d.datname = pg_catalog.current_database()
