-- All that somebody has made and that may go when another object goes, with the relation that it
-- belongs to (0: none), as a person reads it.
SELECT x.classid, x.objid, x.parent, i.type || ' ' || i.identity
  FROM (SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid AS classid, c.oid AS objid,
               0::pg_catalog.oid AS parent
          FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
         UNION ALL
        SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, n.indexrelid, n.indrelid
          FROM pg_catalog.pg_index n
          JOIN pg_catalog.pg_class c ON c.oid = n.indexrelid AND NOT c.relispartition
         WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = n.indexrelid
                              AND k.conrelid = n.indrelid)
         UNION ALL
        SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid, k.conrelid
          FROM pg_catalog.pg_constraint k
         WHERE k.conrelid <> 0 AND k.conparentid = 0 AND k.contype <> 'n'
         UNION ALL
        SELECT 'pg_catalog.pg_attrdef'::pg_catalog.regclass, d.oid, d.adrelid FROM pg_catalog.pg_attrdef d
         UNION ALL
        SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, 0 FROM pg_catalog.pg_proc p
         UNION ALL
        SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, 0
          FROM pg_catalog.pg_type t
          LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
         WHERE t.typtype IN ('d', 'e', 'r') OR (t.typtype = 'c' AND c.relkind = 'c')
         UNION ALL
        SELECT 'pg_catalog.pg_trigger'::pg_catalog.regclass, g.oid, g.tgrelid
          FROM pg_catalog.pg_trigger g WHERE NOT g.tgisinternal AND g.tgparentid = 0
         UNION ALL
        SELECT 'pg_catalog.pg_policy'::pg_catalog.regclass, p.oid, p.polrelid FROM pg_catalog.pg_policy p
         UNION ALL
        SELECT 'pg_catalog.pg_rewrite'::pg_catalog.regclass, r.oid, r.ev_class
          FROM pg_catalog.pg_rewrite r WHERE r.rulename <> '_RETURN'
         UNION ALL
        SELECT 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, s.oid, s.stxrelid
          FROM pg_catalog.pg_statistic_ext s) AS x,
       pg_catalog.pg_identify_object(x.classid, x.objid, 0) AS i
 WHERE x.objid >= 16384
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                    WHERE d.classid = x.classid AND d.objid = x.objid AND d.deptype = 'e')
 ORDER BY 4
