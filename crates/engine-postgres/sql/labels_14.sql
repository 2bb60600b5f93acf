-- Enum labels by OID, with the transaction that wrote them last: a label that was renamed and
-- renamed back while rows were read has another one.
SELECT e.enumtypid, e.oid, e.enumlabel::pg_catalog.text, e.xmin::pg_catalog.text AS version
  FROM pg_catalog.pg_enum e
 ORDER BY e.enumtypid, e.oid
