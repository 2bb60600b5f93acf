-- The oldest transaction that a snapshot taken now does not see the end of; and whether one before $1 is
-- not worth waiting for: it is prepared, or has been open for longer than $2 seconds.
SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::pg_catalog.text AS xmin,
       EXISTS (SELECT FROM pg_catalog.pg_prepared_xacts p
                WHERE pg_catalog.age(p.transaction)
                      > pg_catalog.age($1::pg_catalog.text::pg_catalog.xid8::pg_catalog.xid))
       OR EXISTS (SELECT FROM pg_catalog.pg_stat_activity a
                   WHERE pg_catalog.age(a.backend_xid)
                         > pg_catalog.age($1::pg_catalog.text::pg_catalog.xid8::pg_catalog.xid)
                     AND a.xact_start < pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => $2))
       AS in_vain
