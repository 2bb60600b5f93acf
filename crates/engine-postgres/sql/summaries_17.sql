-- The WAL summaries of a timeline that are there.
SELECT s.start_lsn, s.end_lsn
  FROM pg_catalog.pg_available_wal_summaries() s
 WHERE s.tli = $1
 ORDER BY s.start_lsn, s.end_lsn
