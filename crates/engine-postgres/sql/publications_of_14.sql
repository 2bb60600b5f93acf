-- The publications that these relations ($1) are named in: how they are taken out, and how what
-- takes their place is put in.
SELECT p.pubname::pg_catalog.text,
       pg_catalog.format('ALTER PUBLICATION %I DROP TABLE ONLY %s', p.pubname, m.prrelid::pg_catalog.regclass),
       pg_catalog.format('ALTER PUBLICATION %I ADD TABLE ONLY %s', p.pubname, m.prrelid::pg_catalog.regclass),
       pg_catalog.pg_has_role(p.pubowner, 'USAGE'), p.pubowner::pg_catalog.regrole::pg_catalog.text
  FROM pg_catalog.pg_publication_rel m
  JOIN pg_catalog.pg_publication p ON p.oid = m.prpubid
 WHERE m.prrelid = ANY ($1::pg_catalog.oid[])
 ORDER BY 1, 2
