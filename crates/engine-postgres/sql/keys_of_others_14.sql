-- Foreign keys of others to these relations ($1): their names, and the query that finds a row that
-- would lose what it refers to. Its place for the other table's name is %s.
SELECT pg_catalog.format('the foreign key %I of %s', k.conname, k.conrelid::pg_catalog.regclass), k.confrelid,
       pg_catalog.format('SELECT FROM %s AS f WHERE %s AND NOT EXISTS (SELECT FROM ', k.conrelid::pg_catalog.regclass,
           (SELECT pg_catalog.string_agg(pg_catalog.format('f.%I IS NOT NULL', a.attname), ' AND ')
              FROM pg_catalog.pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey))),
       pg_catalog.format(' AS p WHERE %s) LIMIT 1',
           (SELECT pg_catalog.string_agg(pg_catalog.format('p.%I OPERATOR(%I.%s) f.%I', p.attname, n.nspname, o.oprname, f.attname), ' AND ')
              FROM ROWS FROM (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey), pg_catalog.unnest(k.conpfeqop)) AS x (own, other, op)
              JOIN pg_catalog.pg_attribute f ON f.attrelid = k.conrelid AND f.attnum = x.own
              JOIN pg_catalog.pg_attribute p ON p.attrelid = k.confrelid AND p.attnum = x.other
              JOIN pg_catalog.pg_operator o ON o.oid = x.op
              JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace))
  FROM pg_catalog.pg_constraint k
 WHERE k.contype = 'f' AND k.conparentid = 0 AND k.convalidated
   AND k.confrelid = ANY ($1::pg_catalog.oid[]) AND k.conrelid <> ALL ($1)
 ORDER BY 1
