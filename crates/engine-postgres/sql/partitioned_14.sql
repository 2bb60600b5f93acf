-- For each leaf below a hash partitioned table: the topmost of these whose hash may come out
-- otherwise in another database. Enums hash by OID, text by its collation, and nobody knows what
-- an expression or a type that is not built in does.
SELECT c.oid AS leaf, a.relid::pg_catalog.oid AS through
  FROM pg_catalog.pg_class c
 CROSS JOIN LATERAL (
       SELECT p.relid
         FROM pg_catalog.pg_partition_ancestors(c.oid) WITH ORDINALITY AS p (relid, distance)
         JOIN pg_catalog.pg_partitioned_table t ON t.partrelid = p.relid
        WHERE t.partstrat = 'h'
          AND (0 = ANY (t.partattrs::pg_catalog.int2[])
               OR EXISTS (SELECT FROM pg_catalog.pg_attribute k
                            JOIN pg_catalog.pg_type y ON y.oid = k.atttypid
                           WHERE k.attrelid = t.partrelid
                             AND k.attnum = ANY (t.partattrs::pg_catalog.int2[])
                             AND (y.oid >= 16384 OR k.attcollation <> 0)))
        ORDER BY p.distance DESC
        LIMIT 1) a
 WHERE c.relkind = 'r' AND c.relispartition
