-- No limit of the server or the role may end a run; transaction_timeout is there from 17 on.
SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings
 WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout',
                'idle_session_timeout', 'transaction_timeout');
-- A parallel plan gives blocks out of order; a read by block ranges is a TID range scan.
SET max_parallel_workers_per_gather = 0;
SET enable_tidscan = on;
SET synchronize_seqscans = off;
SET jit = off;
-- Every name in our statements is qualified; nobody's search_path changes what they mean.
SET search_path = '';
SET quote_all_identifiers = off;
-- A row that policies hide is an error, never left out silently.
SET row_security = off;
-- One text for one value, whatever the role's settings are.
SET client_encoding = 'UTF8';
SET DateStyle = 'ISO';
SET IntervalStyle = 'postgres';
SET TimeZone = 'UTC';
SET bytea_output = 'hex';
SET extra_float_digits = 3;
SET lc_monetary = 'C';
SET xmloption = 'content';
SET standard_conforming_strings = on;
