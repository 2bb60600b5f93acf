-- All types, with what they are made of and the version of the extension that owns them.
SELECT t.oid, t.typname::pg_catalog.text, t.typtype::pg_catalog.text,
       CASE WHEN t.typsubscript = 'pg_catalog.array_subscript_handler'::pg_catalog.regproc
            THEN t.typelem ELSE 0 END AS element,
       t.typbasetype, t.typtypmod, t.typrelid,
       COALESCE(r.rngsubtype, m.rngsubtype, 0) AS subtype,
       n.nspname = 'pg_catalog' AS built_in,
       (SELECT e.extname || ' ' || e.extversion
          FROM pg_catalog.pg_depend d
          JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
         WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objid = t.oid
           AND d.deptype = 'e'
           AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass) AS extension
  FROM pg_catalog.pg_type t
  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
  LEFT JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid
  LEFT JOIN pg_catalog.pg_range m ON m.rngmultitypid = t.oid
