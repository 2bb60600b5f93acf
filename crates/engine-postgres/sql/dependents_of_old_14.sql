-- What is bound to these relations ($1), or to anything else in these schemas ($2), and does not go
-- with them: how it is bound to what takes their place. Every text names objects as they are named
-- now, which is how those are named that come.
WITH RECURSIVE inside (classid, objid) AS (
       SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, o.oid
         FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS o (oid)
       UNION
       SELECT d.classid, d.objid
         FROM pg_catalog.pg_depend d
         JOIN pg_catalog.pg_namespace n ON n.oid = d.refobjid AND n.nspname = ANY ($2::pg_catalog.text[])
        WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
       UNION
       -- Parts: indexes, constraints, defaults, triggers, policies, own sequences, row types.
       SELECT d.classid, d.objid
         FROM inside i
         JOIN pg_catalog.pg_depend d ON d.refclassid = i.classid AND d.refobjid = i.objid
        WHERE d.deptype IN ('a', 'i', 'P', 'S')),
     bound AS (
       SELECT d.classid, d.objid,
              pg_catalog.bool_or(d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass) AS by_type
         FROM inside i
         JOIN pg_catalog.pg_depend d ON d.refclassid = i.classid AND d.refobjid = i.objid
        WHERE d.deptype = 'n'
          AND NOT EXISTS (SELECT FROM inside n WHERE n.classid = d.classid AND n.objid = d.objid)
        GROUP BY d.classid, d.objid)
SELECT pg_catalog.pg_describe_object(b.classid, b.objid, 0) AS what,
       COALESCE(v.relkind, t.relkind, a.relkind, l.relkind)::pg_catalog.text AS kind,
       CASE WHEN k.contype = 'f' AND t.relkind <> 'p'
            THEN pg_catalog.format('ALTER TABLE %s DROP CONSTRAINT %I', k.conrelid::pg_catalog.regclass, k.conname)
        END AS first,
       CASE WHEN v.relkind = 'v' AND r.rulename = '_RETURN' AND NOT b.by_type
            THEN pg_catalog.format('CREATE OR REPLACE VIEW %s%s AS %s', v.oid::pg_catalog.regclass,
                    ' WITH (' || pg_catalog.array_to_string(v.reloptions, ', ') || ')',
                    pg_catalog.pg_get_viewdef(v.oid))
            WHEN k.contype = 'f' AND t.relkind <> 'p'
            THEN pg_catalog.format('ALTER TABLE %s ADD CONSTRAINT %I %s%s', k.conrelid::pg_catalog.regclass,
                    k.conname, pg_catalog.pg_get_constraintdef(k.oid),
                    CASE WHEN k.convalidated THEN ' NOT VALID' END)
            WHEN e.oid IS NOT NULL AND NOT b.by_type AND g.attgenerated = ''
            THEN pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT %s', e.adrelid::pg_catalog.regclass,
                    g.attname, pg_catalog.pg_get_expr(e.adbin, e.adrelid))
            WHEN p.prosqlbody IS NOT NULL AND NOT b.by_type
            THEN pg_catalog.pg_get_functiondef(p.oid)
            WHEN q.oid IS NOT NULL AND NOT b.by_type
            THEN pg_catalog.format('ALTER POLICY %I ON %s%s%s', q.polname, q.polrelid::pg_catalog.regclass,
                    ' USING (' || pg_catalog.pg_get_expr(q.polqual, q.polrelid) || ')',
                    ' WITH CHECK (' || pg_catalog.pg_get_expr(q.polwithcheck, q.polrelid) || ')')
        END AS then_again,
       CASE WHEN k.contype = 'f' AND k.convalidated AND t.relkind <> 'p'
            THEN pg_catalog.format('ALTER TABLE %s VALIDATE CONSTRAINT %I', k.conrelid::pg_catalog.regclass, k.conname)
        END AS validate,
       COALESCE(pg_catalog.pg_has_role(COALESCE(v.relowner, t.relowner, a.relowner, l.relowner, p.proowner), 'USAGE'), true) AS ours,
       COALESCE(v.relowner, t.relowner, a.relowner, l.relowner, p.proowner)::pg_catalog.regrole::pg_catalog.text AS owner,
       CASE WHEN k.contype = 'f' THEN k.conrelid::pg_catalog.regclass::pg_catalog.text END AS of_table
  FROM bound b
  LEFT JOIN pg_catalog.pg_rewrite r ON b.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND r.oid = b.objid
  LEFT JOIN pg_catalog.pg_class v ON v.oid = r.ev_class
  LEFT JOIN pg_catalog.pg_constraint k ON b.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND k.oid = b.objid
  LEFT JOIN pg_catalog.pg_class t ON t.oid = k.conrelid
  LEFT JOIN pg_catalog.pg_attrdef e ON b.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND e.oid = b.objid
  LEFT JOIN pg_catalog.pg_attribute g ON g.attrelid = e.adrelid AND g.attnum = e.adnum
  LEFT JOIN pg_catalog.pg_class a ON a.oid = e.adrelid
  LEFT JOIN pg_catalog.pg_proc p ON b.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.oid = b.objid
  LEFT JOIN pg_catalog.pg_policy q ON b.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass AND q.oid = b.objid
  LEFT JOIN pg_catalog.pg_class l ON l.oid = q.polrelid
 -- A partition's copy of a key belongs to the key of its table.
 WHERE k.conparentid IS NULL OR k.conparentid = 0
 ORDER BY 1
