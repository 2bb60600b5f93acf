-- The columns of all relations whose row type may be a column's type, and of all tables.
SELECT a.attrelid, a.attnum, a.attname::pg_catalog.text, a.atttypid, a.atttypmod,
       a.attgenerated <> '' AS generated, a.attisdropped,
       CASE WHEN a.atthasmissing THEN a.attmissingval::pg_catalog.text END AS missing
  FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
 WHERE a.attnum > 0 AND c.relkind IN ('r', 'p', 'c', 'v', 'm', 'f') AND c.oid >= 16384
 ORDER BY a.attrelid, a.attnum
