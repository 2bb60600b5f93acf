-- All that one WAL summary says, in the order in which it says it.
SELECT c.relfilenode, c.reltablespace, c.reldatabase, c.relforknumber, c.relblocknumber, c.is_limit_block
  FROM pg_catalog.pg_wal_summary_contents($1, $2, $3) c
