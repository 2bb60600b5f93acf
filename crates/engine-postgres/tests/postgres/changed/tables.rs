//! Which blocks of a table are read, and when all of them are.

use model::{Basis, ChangedBlocksSource};
use rstest::rstest;

use super::saved::Shop;

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
