-- What the closing facts say about the server and the database.
SELECT d.oid, pg_catalog.pg_encoding_to_char(d.encoding)::pg_catalog.text AS encoding,
       pg_catalog.pg_is_in_recovery() AS standby,
       pg_catalog.current_setting('block_size')::pg_catalog.int8 AS block_size,
       pg_catalog.pg_current_snapshot()::pg_catalog.text AS snapshot,
       pg_catalog.to_char(pg_catalog.timezone('UTC', pg_catalog.clock_timestamp()), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at
  FROM pg_catalog.pg_database d
 WHERE d.datname = pg_catalog.current_database()
