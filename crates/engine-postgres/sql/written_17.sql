-- What WAL summaries say about some heaps of a database, and (as 0) about the database itself.
SELECT c.relfilenode, c.reltablespace, c.relblocknumber, c.is_limit_block
  FROM ROWS FROM (pg_catalog.unnest($2::pg_catalog.pg_lsn[]),
                  pg_catalog.unnest($3::pg_catalog.pg_lsn[])) AS s (start_lsn, end_lsn)
 CROSS JOIN LATERAL pg_catalog.pg_wal_summary_contents($1, s.start_lsn, s.end_lsn) c
 WHERE c.reldatabase = $4 AND c.relforknumber = 0
   AND (c.relfilenode = 0 OR c.relfilenode = ANY ($5::pg_catalog.oid[]))
