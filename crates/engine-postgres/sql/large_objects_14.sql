-- Large objects without their bytes: owner, access list, comment, security labels.
SELECT l.oid, pg_catalog.pg_get_userbyid(l.lomowner)::pg_catalog.text AS owner,
       CASE WHEN l.lomacl IS NOT NULL THEN
         (SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
                   'grantor', pg_catalog.pg_get_userbyid(a.grantor)::pg_catalog.text,
                   'grantee', CASE WHEN a.grantee <> 0 THEN pg_catalog.pg_get_userbyid(a.grantee)::pg_catalog.text END,
                   'privilege', a.privilege_type, 'grantable', a.is_grantable)), '[]')
            FROM pg_catalog.aclexplode(l.lomacl) a) END::pg_catalog.text AS grants,
       pg_catalog.obj_description(l.oid, 'pg_largeobject') AS comment,
       (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(s.provider, s.label) ORDER BY s.provider)
          FROM pg_catalog.pg_seclabel s
         WHERE s.objoid = l.oid AND s.objsubid = 0
           AND s.classoid = 'pg_catalog.pg_largeobject'::pg_catalog.regclass)::pg_catalog.text AS labels
  FROM pg_catalog.pg_largeobject_metadata l
 ORDER BY l.oid
