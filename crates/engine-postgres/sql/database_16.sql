-- What pg_dump --schema-only leaves out about the database, on servers from 16 on.
SELECT d.datname::pg_catalog.text AS name,
       pg_catalog.pg_encoding_to_char(d.encoding)::pg_catalog.text AS encoding,
       d.datlocprovider::pg_catalog.text AS provider,
       d.datcollate::pg_catalog.text AS lc_collate, d.datctype::pg_catalog.text AS lc_ctype,
       (d.daticulocale)::pg_catalog.text AS locale,
       (d.daticurules)::pg_catalog.text AS icu_rules,
       (d.datcollversion)::pg_catalog.text AS collation_version,
       pg_catalog.pg_get_userbyid(d.datdba)::pg_catalog.text AS owner,
       t.spcname::pg_catalog.text AS tablespace,
       pg_catalog.shobj_description(d.oid, 'pg_database') AS comment,
       d.datconnlimit, d.datistemplate, d.datallowconn,
       CASE WHEN d.datacl IS NOT NULL THEN
         (SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
                   'grantor', pg_catalog.pg_get_userbyid(a.grantor)::pg_catalog.text,
                   'grantee', CASE WHEN a.grantee <> 0 THEN pg_catalog.pg_get_userbyid(a.grantee)::pg_catalog.text END,
                   'privilege', a.privilege_type, 'grantable', a.is_grantable)), '[]')
            FROM pg_catalog.aclexplode(d.datacl) a) END::pg_catalog.text AS grants
  FROM pg_catalog.pg_database d
  JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace
 WHERE d.datname = pg_catalog.current_database()
