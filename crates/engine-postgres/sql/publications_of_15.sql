-- As publications_of_14.sql; since 15 a publication may have columns and conditions.
SELECT p.pubname::pg_catalog.text,
       pg_catalog.format('ALTER PUBLICATION %I DROP TABLE ONLY %s', p.pubname, m.prrelid::pg_catalog.regclass),
       pg_catalog.format('ALTER PUBLICATION %I ADD TABLE ONLY %s%s%s', p.pubname, m.prrelid::pg_catalog.regclass,
           ' (' || (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum)
                      FROM pg_catalog.pg_attribute a
                     WHERE a.attrelid = m.prrelid AND a.attnum = ANY (m.prattrs)) || ')',
           ' WHERE (' || pg_catalog.pg_get_expr(m.prqual, m.prrelid) || ')'),
       pg_catalog.pg_has_role(p.pubowner, 'USAGE'), p.pubowner::pg_catalog.regrole::pg_catalog.text
  FROM pg_catalog.pg_publication_rel m
  JOIN pg_catalog.pg_publication p ON p.oid = m.prpubid
 WHERE m.prrelid = ANY ($1::pg_catalog.oid[])
 ORDER BY 1, 2
