//! Which blocks of a table are read, and when all of them are.

use engine_postgres::Rule;
use model::{Basis, ChangedBlocksSource};
use rstest::rstest;

use super::saved::{Shop, needs};

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
        shop.ten_a_block("full", 20);
        let base = shop.full().await;
        shop.sql(
            "TRUNCATE t; INSERT INTO t SELECT i, 3, repeat('z', 660) FROM generate_series(1, 150) i;
             DELETE FROM \"full\" WHERE i % 3 = 0; VACUUM FULL \"full\"",
        );
        let delta = shop.delta(&base).await;
        shop.is_as(&delta, "t", "i, v, t") && shop.is_as(&delta, "full", "i, v, t")
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
        shop.summarize();
        shop.sql("VACUUM t");
        let delta = shop.delta(&base).await;
        assert!(delta.changed("t").iter().all(|block| *block < 60));
        shop.is_as(&delta, "t", "i, v, t")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_the_rows_and_no_block_makes_the_table_be_read_whole() {
    for (columns, value, change) in [
        (
            "m mood",
            "'sad'",
            "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'",
        ),
        (
            "m feeling[]",
            "'{sad}'",
            "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'",
        ),
        (
            "m text",
            "NULL",
            "ALTER TABLE t DROP m; ALTER TABLE t ADD m text DEFAULT 'old'",
        ),
    ] {
        on_both(Rule::SameShape, &[], async |shop| {
            shop.sql(&format!(
                "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN feeling AS mood;
                 CREATE TABLE t (i int, {columns}); INSERT INTO t VALUES (1, {value}); CHECKPOINT"
            ));
            let base = shop.full().await;
            shop.sql(change);
            let delta = shop.delta(&base).await;
            shop.is_as(&delta, "t", "i, m")
        })
        .await;
    }
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
             CREATE TABLE t AS SELECT ARRAY['named'::regclass::tables] AS r, 'named'::regclass AS c; CHECKPOINT",
        );
        let base = shop.full().await;
        shop.sql("ALTER TABLE named RENAME TO other");
        let delta = shop.delta(&base).await;
        assert_eq!(delta.source(), Some(ChangedBlocksSource::WalSummary));
        shop.is_as(&delta, "t", "r, c")
    })
    .await;
}
