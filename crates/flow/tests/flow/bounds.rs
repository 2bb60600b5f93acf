//! Memory is bounded by streams, whatever the size of the database: buffers and reads are counted.

use std::sync::Arc;

use testkit::Operation;
use testkit::memory_engine::{MemoryDatabase, Stage, Trouble};
use tokio_util::sync::CancellationToken;

use crate::rig::{Rig, rows, until};

/// Buffers that a stream may have, as `flow` promises.
const BUFFERS: usize = 4;

/// A table of 48 frames in several segments.
fn large() -> MemoryDatabase {
    MemoryDatabase::new().table("large", rows(96, 512 << 10), 4)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_many_frames_uses_few_buffers() {
    for streams in [1, 3] {
        let mut rig = Rig::new().await;
        rig.streams = streams;
        rig.engine.put_database("shop", large());
        rig.backup().await.unwrap();
        let pieces = rig.engine.count(Stage::Piece);
        let lent = rig.engine.buffers_lent();
        assert!(pieces >= 48, "{pieces}");
        assert!(lent <= streams * BUFFERS, "{lent} buffers");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_of_many_frames_uses_few_buffers() {
    let mut rig = Rig::new().await;
    rig.streams = 1;
    let row = rows(1, 40 << 20).collect::<Vec<_>>();
    rig.engine
        .put_database("shop", MemoryDatabase::new().table("large", row, 1));
    let saveset = rig.backup().await.unwrap().saveset;
    assert!(rig.engine.count(Stage::Piece) > 40);
    assert!(rig.engine.buffers_lent() <= BUFFERS);
    // Two packs: one was put as soon as it was full.
    assert_eq!(rig.calls_to(Operation::Put, "packs/"), 2);
    rig.restore(&saveset, "copy").await.unwrap();
    assert_eq!(rig.engine.contents("copy"), rig.engine.contents("shop"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_wait_while_the_store_does_not_take_a_pack() {
    use testkit::{Fault, Rule, Times};
    let mut rig = Rig::new().await;
    rig.streams = 1;
    let larger = MemoryDatabase::new().table("large", rows(192, 512 << 10), 4);
    rig.engine.put_database("shop", larger);
    rig.store.inject(Rule::new(
        Operation::Put,
        "packs/*",
        Times::Every,
        Fault::Hang,
    ));
    let rig = Arc::new(rig);
    let cancel = CancellationToken::new();
    let run = tokio::spawn({
        let (rig, cancel) = (rig.clone(), cancel.clone());
        async move { rig.backup_until(cancel).await }
    });
    until(|| rig.engine.count(Stage::Piece) >= 64).await;
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    // The frames of a pack that is being put and of one that waits for it, what is on the way, and
    // one that waits for a buffer; a segment's last piece is shorter than a frame.
    let pieces = rig.engine.count(Stage::Piece);
    assert!((64..=72 + BUFFERS).contains(&pieces), "{pieces}");
    assert_eq!(rig.calls_to(Operation::Put, "packs/"), 1);
    cancel.cancel();
    assert!(run.await.unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_reads_only_a_little_ahead_of_its_loader() {
    let mut rig = Rig::new().await;
    rig.streams = 1;
    rig.engine.blocks_per_segment(1_000);
    rig.engine.put_database("shop", large());
    let saveset = rig.backup().await.unwrap().saveset;
    rig.store.forget_calls();
    rig.engine.trouble(Stage::Load, 1, Trouble::Hang);
    let rig = Arc::new(rig);
    let run = tokio::spawn({
        let rig = rig.clone();
        async move { rig.restore(&saveset, "copy").await }
    });
    rig.engine.reached(Stage::Load, 1).await;
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let stuck = rig.calls_to(Operation::Get, "packs/");
    rig.engine.heal();
    run.await.unwrap().unwrap();
    let all = rig.calls_to(Operation::Get, "packs/");
    assert!(stuck + 4 < all, "{stuck} of {all} reads were made ahead");
}
