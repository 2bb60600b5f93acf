//! Where windows begin and end.

use engine_postgres::Rule;
use model::{ChangedBlocksSource, Engine};
use rstest::rstest;

use super::saved::{Shop, needs, save};
use crate::reading::{connection, engine};

#[rstest]
#[case(17)]
#[case(18)]
#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_a_transaction_that_was_open_at_the_base_is_read(#[case] version: u32) {
    needs(Rule::WindowStart, &[], async || {
        let shop = Shop::open(version);
        shop.ten_a_block("t", 20);
        let writer = shop.open_update().await;
        shop.summarize();
        let full = shop.full().await;
        writer.batch_execute("COMMIT").await.unwrap();
        let delta = shop.delta(&full).await;
        shop.is_as(&delta, "t", "i, v, t")
    })
    .await;
}

#[rstest]
#[case(17)]
#[case(18)]
#[tokio::test(flavor = "multi_thread")]
async fn a_window_begins_at_an_older_beat_while_a_transaction_is_open(#[case] version: u32) {
    let shop = Shop::open(version);
    shop.ten_a_block("t", 20);
    let role = shop.reading().user;
    let site = connection(&shop.server, role);
    let beat = engine(&shop.server).beat(&site).await.unwrap().unwrap();
    let writer = shop.open_update().await;
    shop.summarize();
    let without = shop.full().await;
    let mut reading = shop.reading();
    reading.beats = vec![beat];
    let full = save(&reading, None).await;
    // A delta has its base's beginning beside the beats.
    let open = shop.delta(&full).await;
    assert_eq!(open.source(), Some(ChangedBlocksSource::WalSummary));
    writer.batch_execute("COMMIT").await.unwrap();
    for base in [&full, &open] {
        let delta = shop.delta(base).await;
        assert_eq!(delta.source(), Some(ChangedBlocksSource::WalSummary));
        assert!(delta.changed("t").contains(&5));
        assert!(shop.is_as(&delta, "t", "i, v, t"));
    }
    let compared = shop.delta(&without).await;
    assert!(
        compared.why().contains("a transaction is open"),
        "{}",
        compared.why()
    );
    assert!(shop.is_as(&compared, "t", "i, v, t"));
    let next = shop.delta(&compared).await;
    assert_eq!(next.source(), Some(ChangedBlocksSource::WalSummary));
}

#[rstest]
#[case(17)]
#[case(18)]
#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_right_before_the_snapshot_is_read(#[case] version: u32) {
    needs(Rule::WindowEnd, &[], async || {
        let shop = Shop::open(version);
        shop.ten_a_block("t", 20);
        shop.summarize();
        let full = shop.full().await;
        shop.sql("SET synchronous_commit = off; UPDATE t SET v = 1 WHERE i = 55");
        let delta = shop.delta(&full).await;
        assert_eq!(delta.source(), Some(ChangedBlocksSource::WalSummary));
        shop.is_as(&delta, "t", "i, v, t")
    })
    .await;
}
