//! Which blocks of a table are read, and when all of them are.

use engine_postgres::Rule;
use model::{Basis, ChangedBlocksSource, RowFormat};
use rstest::rstest;

use super::saved::{Shop, needs, summarizing};
use crate::reading::psql_copy;

#[rstest]
#[case(17)]
#[case(18)]
#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_written_is_read(#[case] version: u32) {
    let shop = Shop::open(version);
    shop.ten_a_block("t", 50);
    shop.ten_a_block("quiet", 20);
    let full = shop.full().await;
    assert_eq!((full.basis.len(), full.source()), (0, None));
    shop.sql(
        "UPDATE t SET v = 1 WHERE i IN (35, 333); DELETE FROM t WHERE i / 10 = 7;
         INSERT INTO t SELECT 9999, 0, repeat('y', 660) FROM generate_series(1, 25);
         CREATE TABLE young AS SELECT 1 AS a",
    );
    let delta = shop.delta(&full).await;
    assert_eq!(delta.changed_blocks.as_ref().unwrap().why, None);
    assert_eq!(delta.source(), Some(ChangedBlocksSource::WalSummary));
    let changed = delta.changed("t");
    for block in [3, 7, 33, 50, 51, 52] {
        assert!(changed.contains(&block), "{block}: {changed:?}");
    }
    assert!(changed.len() <= 9, "{changed:?}");
    assert_eq!(delta.changed("quiet"), [0_u32; 0]);
    assert!(matches!(delta.basis_of("young"), Basis::Nothing { why } if why.contains("no such")));
    for table in ["t", "quiet"] {
        assert!(shop.is_as(&delta, table, "i, v, t"), "{table}");
    }
    assert!(shop.is_as(&delta, "young", "a"));
    // And so on, from delta to delta.
    shop.sql("UPDATE quiet SET v = 2 WHERE i = 100; ALTER TABLE t RENAME TO renamed");
    let next = shop.delta(&delta).await;
    assert_eq!(next.source(), Some(ChangedBlocksSource::WalSummary));
    assert!(next.changed("quiet").contains(&10));
    assert!(shop.is_as(&next, "quiet", "i, v, t"));
    assert!(shop.is_as(&next, "renamed", "i, v, t"));
    assert!(shop.is_as(&next, "young", "a"));
}

/// The same story on both versions.
async fn on_both(rule: Rule, others_out: &[Rule], story: impl AsyncFn(&Shop) -> bool) {
    for version in [17, 18] {
        needs(rule, others_out, async || story(&Shop::open(version)).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_rewritten_is_read_whole() {
    on_both(Rule::SameHeap, &[], async |shop| {
        shop.ten_a_block("t", 20);
        shop.ten_a_block("packed", 20);
        let base = shop.full().await;
        shop.sql(
            "TRUNCATE t; INSERT INTO t SELECT i, 3, repeat('z', 660) FROM generate_series(1, 150) i;
             DELETE FROM packed WHERE i % 3 = 0; VACUUM FULL packed",
        );
        let delta = shop.delta(&base).await;
        shop.is_as(&delta, "t", "i, v, t") && shop.is_as(&delta, "packed", "i, v, t")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cut_off_is_gone_though_the_file_grew_again() {
    on_both(Rule::LimitBlocks, &[], async |shop| {
        shop.ten_a_block("t", 60);
        let base = shop.full().await;
        shop.sql("DELETE FROM t WHERE i >= 100");
        shop.sql("VACUUM t; CHECKPOINT");
        assert_eq!(shop.sql("SELECT pg_relation_size('t') / 8192"), "10");
        // The file grows, and a crash takes back what was written into it.
        let writer = shop.server.connect("shop").await;
        let insert =
            "BEGIN; INSERT INTO t SELECT i, 0, repeat('x', 660) FROM generate_series(1, 500) i";
        writer.batch_execute(insert).await.unwrap();
        shop.crash_without_restart().await;
        let blocks: u32 = shop
            .sql("SELECT pg_relation_size('t') / 8192")
            .parse()
            .unwrap();
        assert!(blocks > 40, "{blocks}");
        let delta = shop.delta(&base).await;
        assert_eq!(delta.source(), Some(ChangedBlocksSource::WalSummary));
        shop.is_as(&delta, "t", "i, v, t")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_lies_behind_a_tables_end() {
    // The limit says the same in this story; it is taken out, so that the end alone is left.
    on_both(Rule::RelationEnd, &[Rule::LimitBlocks], async |shop| {
        shop.ten_a_block("t", 60);
        let base = shop.full().await;
        shop.sql("DELETE FROM t WHERE i >= 100");
        shop.sql("VACUUM t");
        shop.summarize();
        let delta = shop.delta(&base).await;
        assert!(delta.changed("t").iter().all(|block| *block < 60));
        shop.is_as(&delta, "t", "i, v, t")
    })
    .await;
}

#[rstest]
#[case("m mood", "'sad'", "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'")]
#[case(
    "m feeling[]",
    "'{sad}'",
    "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'"
)]
#[case(
    "m text",
    "NULL",
    "ALTER TABLE t DROP m; ALTER TABLE t ADD m text DEFAULT 'old'"
)]
#[case(
    "m pair[]",
    "ARRAY[ROW(1, 'sad')::pair]",
    "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'"
)]
#[tokio::test(flavor = "multi_thread")]
async fn what_changes_the_rows_and_no_block_makes_the_table_be_read_whole(
    #[case] columns: &str,
    #[case] value: &str,
    #[case] change: &str,
) {
    on_both(Rule::SameShape, &[], async |shop| {
        shop.sql(&format!(
            "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN feeling AS mood;
             CREATE TYPE pair AS (a int, m feeling);
             CREATE TABLE t (i int, {columns}); INSERT INTO t VALUES (1, {value}); VACUUM t; CHECKPOINT"
        ));
        let base = shop.full().await;
        shop.sql(change);
        let delta = shop.delta(&base).await;
        shop.is_as(&delta, "t", "i, m")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unlogged_table_is_compared() {
    on_both(Rule::Unlogged, &[], async |shop| {
        shop.sql(
            "CREATE UNLOGGED TABLE t AS SELECT i, 0 AS v FROM generate_series(1, 3000) i;
             CHECKPOINT",
        );
        let base = shop.full().await;
        shop.sql("UPDATE t SET v = 1 WHERE i = 55");
        let delta = shop.delta(&base).await;
        assert_eq!(delta.source(), Some(ChangedBlocksSource::WalSummary));
        shop.is_as(&delta, "t", "i, v")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_prints_names_of_others_is_compared() {
    on_both(Rule::Names, &[], async |shop| {
        shop.sql(
            "CREATE TABLE named (a int); CREATE DOMAIN tables AS regclass;
             CREATE TABLE t AS SELECT ARRAY['named'::regclass::tables] AS r, 'named'::regclass AS c; VACUUM t; CHECKPOINT",
        );
        let base = shop.full().await;
        shop.sql("ALTER TABLE named RENAME TO other");
        let delta = shop.delta(&base).await;
        assert_eq!(delta.source(), Some(ChangedBlocksSource::WalSummary));
        shop.is_as(&delta, "t", "r, c")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_objects_are_a_table_like_others() {
    for version in [17, 18] {
        let shop = Shop::open(version);
        shop.sql(
            "SELECT lo_from_bytea(n, convert_to(repeat('x', 20000), 'UTF8')) FROM generate_series(1, 50) n;
             VACUUM pg_largeobject; CHECKPOINT",
        );
        let same = |saved: &super::saved::Saved| {
            let query = "SELECT loid, pageno, data FROM pg_catalog.pg_largeobject";
            let expected = psql_copy(&shop.server, "shop", query, RowFormat::Binary);
            saved.rows_of("pg_largeobject") == expected
        };
        let base = shop.full().await;
        shop.sql("SELECT lo_put(7, 4000, 'changed'), lo_unlink(9), lo_from_bytea(99, 'new')");
        let delta = shop.delta(&base).await;
        let changed = delta.changed("pg_largeobject");
        assert!((1..=6).contains(&changed.len()), "{changed:?}");
        assert!(same(&delta));
        shop.sql("SELECT lo_put(8, 4000, 'changed'); VACUUM FULL pg_largeobject");
        let next = shop.delta(&delta).await;
        let basis = next.basis_of("pg_largeobject");
        assert!(matches!(basis, Basis::Nothing { why } if why == "it was rewritten"));
        assert!(same(&next));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_access_method_and_a_table_in_another_tablespace_are_read_whole() {
    let shop = Shop::open(17);
    shop.sql("CREATE ACCESS METHOD other_heap TYPE TABLE HANDLER heap_tableam_handler");
    shop.sql("SET allow_in_place_tablespaces = on; CREATE TABLESPACE elsewhere LOCATION ''");
    shop.sql("CREATE TABLE o (i int) USING other_heap; INSERT INTO o VALUES (1)");
    shop.ten_a_block("t", 20);
    let base = shop.full().await;
    shop.sql("ALTER TABLE t SET TABLESPACE elsewhere; UPDATE t SET v = 1 WHERE i = 3");
    let delta = shop.delta(&base).await;
    assert_eq!(delta.source(), Some(ChangedBlocksSource::WalSummary));
    for (table, columns) in [("o", "i"), ("t", "i, v, t")] {
        assert!(
            matches!(delta.basis_of(table), Basis::Nothing { .. }),
            "{table}"
        );
        assert!(shop.is_as(&delta, table, columns), "{table}");
    }
    // Where it is now, it is known by its tablespace.
    shop.sql("UPDATE t SET v = 1 WHERE i = 111");
    let next = shop.delta(&delta).await;
    assert!(next.changed("t").contains(&11));
    assert!(shop.is_as(&next, "t", "i, v, t"));
}

#[tokio::test(flavor = "multi_thread")]
async fn scattered_blocks_are_read_in_order_by_ranges_of_their_numbers() {
    for version in [17, 18] {
        let server = summarizing(version).setting("log_statement", "all");
        let shop = Shop::on(server.start());
        shop.ten_a_block("t", 4600);
        let base = shop.full().await;
        shop.sql("UPDATE t SET v = 1 WHERE i % 20 = 3 OR i BETWEEN 100 AND 140");
        let delta = shop.delta(&base).await;
        assert!(delta.changed("t").len() >= 2300);
        assert!(shop.is_as(&delta, "t", "i, v, t"));
        let log = shop.server.log();
        let copies = log.lines().filter_map(|line| line.split_once("COPY ("));
        let copies = copies.filter_map(|(_, copy)| copy.split_once(") TO STDOUT (FORMAT binary)"));
        let copies: Vec<&str> = copies
            .map(|(query, _)| query)
            .filter(|query| query.contains("UNION ALL"))
            .collect();
        let ranges: Vec<usize> = copies
            .iter()
            .map(|query| query.matches("WHERE ctid").count())
            .collect();
        assert!(
            ranges.len() >= 3 && ranges[..2] == [1000, 1000],
            "{ranges:?}"
        );
        // As on the streams of a backup, which have these settings.
        let explained = shop.sql(&format!(
            "SET max_parallel_workers_per_gather = 0; SET enable_tidscan = on; SET jit = off; EXPLAIN (COSTS off) {}",
            copies[0]
        ));
        let plan: Vec<&str> = explained.lines().map(str::trim).collect();
        assert_eq!(plan[0], "Append");
        let scans = plan
            .iter()
            .filter(|line| line.starts_with("->  Tid Range Scan"));
        assert_eq!(scans.count(), 1000, "{explained}");
        let conditions = plan
            .iter()
            .filter_map(|line| line.split_once("(ctid >= '("));
        let starts =
            conditions.map(|(_, rest)| rest.split(',').next().unwrap().parse::<u32>().unwrap());
        let starts: Vec<u32> = starts.collect();
        assert_eq!(starts.len(), 1000);
        assert!(starts.is_sorted_by(|a, b| a < b), "{starts:?}");
    }
}
