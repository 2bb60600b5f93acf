-- What a server can tell about written blocks, and which history it lives in. A standby's timeline is
-- not asked for: it may change at any time.
SELECT pg_catalog.pg_is_in_recovery() AS standby,
       pg_catalog.current_setting('summarize_wal')::pg_catalog.bool AS summarizes,
       pg_catalog.current_setting('wal_level') = 'minimal' AS minimal,
       pg_catalog.current_setting('fsync')::pg_catalog.bool AS fsync,
       (SELECT s.setting::pg_catalog.int8 * 60 FROM pg_catalog.pg_settings s
         WHERE s.name = 'wal_summary_keep_time') AS kept_seconds,
       pg_catalog.pg_has_role('pg_checkpoint', 'USAGE') AS may_checkpoint,
       pg_catalog.pg_postmaster_start_time()::pg_catalog.text AS started,
       (SELECT s.system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system() s) AS system,
       CASE WHEN NOT pg_catalog.pg_is_in_recovery()
            THEN pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 8)
       END AS timeline
