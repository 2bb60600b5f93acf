//! What deltas cost as there are more tables, more blocks, more of them: told by counts, not by time.

use std::time::Instant;

use testkit::Operation;
use testkit::memory_engine::{MemoryDatabase, Stage};
use vault::Saveset;

use crate::delta::{backed_up, is_restored};
use crate::rig::{Rig, rows};

/// Bytes of a saveset's manifest in the vault.
fn manifest_bytes(saveset: &Saveset) -> u64 {
    let contents = &saveset.manifest().contents;
    let sheets = contents.tables().filter_map(|table| table.sheet.as_ref());
    let sheets = sheets.map(|sheet| sheet.stored_bytes).sum::<u64>();
    let parts = contents.parts().map(|part| part.stored_bytes).sum::<u64>();
    saveset.bytes_referred() - sheets - parts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_tables_without_a_change_cost_a_manifest_and_a_dozen_calls() {
    let rig = Rig::new().await;
    let mut database = MemoryDatabase::new();
    for table in 0..1_000 {
        database = database.table(&format!("public.table_{table:04}"), rows(20, 60), 5);
    }
    rig.engine.put_database("shop", database);
    let full = backed_up(&rig, "7.1", None).await.unwrap();
    let segments = rig.engine.count(Stage::Segment);
    rig.store.forget_calls();
    let begun = Instant::now();
    let delta = backed_up(&rig, "9.1", Some(&full.saveset)).await.unwrap();
    println!("a delta of nothing took {:?}", begun.elapsed());
    assert_eq!(rig.engine.count(Stage::Segment), segments);
    assert!(rig.store.calls().len() <= 12, "{:?}", rig.store.calls());
    assert_eq!(delta.bytes_stored, 0);
    let bytes = manifest_bytes(&delta.saveset);
    println!("its manifest has {bytes} bytes");
    assert!(bytes < 100_000, "{bytes} bytes");

    // One row changes: one table's rows, index and sheet.
    rig.engine.change("shop", |shop| {
        shop.write("public.table_0500", 2, rows(1, 60).collect())
    });
    rig.store.forget_calls();
    let next = backed_up(&rig, "11.1", Some(&delta.saveset)).await.unwrap();
    assert_eq!(rig.engine.count(Stage::Segment), segments + 1);
    assert!(rig.store.calls().len() <= 13, "{:?}", rig.store.calls());
    assert!(next.bytes_stored < 4_000, "{}", next.bytes_stored);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_minute_deltas_stay_small_and_a_restore_reads_each_frame_about_once() {
    let mut rig = Rig::new().await;
    rig.streams = 1;
    rig.engine.blocks_per_segment(100);
    let table = rows(4_000, 2_000);
    let database = MemoryDatabase::new().table("stock", table, 1);
    rig.engine.put_database("shop", database);
    let full = backed_up(&rig, "1.1", None).await.unwrap().saveset;
    rig.store.forget_calls();
    let restored = rig.restore(&full, "whole").await.unwrap();
    let (gets, bytes) = (rig.calls_to(Operation::Get, "packs/"), restored.bytes_read);

    let (mut base, mut stored) = (full, Vec::new());
    for minute in 0..120_u32 {
        rig.engine.change("shop", |shop| {
            for step in 0..5 {
                let block = (minute * 5 + step).wrapping_mul(2_654_435_761) % 4_000;
                shop.write(
                    "stock",
                    block,
                    rows(1, 1_900 + minute as usize % 50).collect(),
                );
            }
        });
        let made = backed_up(&rig, &format!("{}.1", minute + 2), Some(&base))
            .await
            .unwrap();
        stored.push(made.bytes_stored);
        rig.vault.drop_saveset(base.id()).await.unwrap();
        base = made.saveset;
    }
    let early: u64 = stored[10..40].iter().sum();
    let late: u64 = stored[90..].iter().sum();
    println!("stored by minutes 10 to 39: {early}, 90 to 119: {late}");
    assert!(late < 2 * early, "{stored:?}");
    let sheet = base.sheet(0, 0).await.unwrap();
    let mut savesets: Vec<_> = sheet.patches.iter().map(|patch| patch.saveset).collect();
    savesets.dedup();
    assert!((2..=12).contains(&savesets.len()), "{savesets:?}");

    rig.vault = rig.vault_again().await;
    let base = rig.vault.open_saveset(base.id()).await.unwrap();
    rig.store.forget_calls();
    let again = rig.restore(&base, "patched").await.unwrap();
    assert_eq!(rig.engine.contents("patched"), rig.engine.contents("shop"));
    let now = rig.calls_to(Operation::Get, "packs/");
    println!(
        "a restore: {gets} reads of {bytes} bytes, patched {now} of {}",
        again.bytes_read
    );
    // Rows that patches have replaced lie in frames that are read all the same.
    assert!(
        again.bytes_read < bytes * 13 / 10,
        "{} of {bytes}",
        again.bytes_read
    );
    assert!(now < 4 * gets, "{now} of {gets}");
    is_restored(&rig, &base, "again").await;
}
