-- Triggers and policies of these relations ($1), named as pg_restore lists them, and for a person.
SELECT 'TRIGGER', n.nspname || ' ' || c.relname || ' ' || g.tgname,
       pg_catalog.format('the trigger %I of %s', g.tgname, c.oid::pg_catalog.regclass)
  FROM pg_catalog.pg_trigger g
  JOIN pg_catalog.pg_class c ON c.oid = g.tgrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE NOT g.tgisinternal AND g.tgparentid = 0 AND c.oid = ANY ($1::pg_catalog.oid[])
UNION ALL
SELECT 'POLICY', n.nspname || ' ' || c.relname || ' ' || p.polname,
       pg_catalog.format('the policy %I of %s', p.polname, c.oid::pg_catalog.regclass)
  FROM pg_catalog.pg_policy p
  JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = ANY ($1)
 ORDER BY 3
