//! The short form of the torture: some histories of each version.
#![allow(clippy::unwrap_used, reason = "test code: a panic is a failure")]

use std::sync::Arc;

use torture::{Rig, Script, Tally, play};

async fn histories(version: u32, seeds: std::ops::Range<u64>) {
    let rig = Arc::new(Rig::start(version));
    let mut all = Tally::default();
    for seed in seeds {
        let played = play(rig.clone(), seed, Script::default()).await;
        if let Some(trouble) = played.trouble {
            let told = played.told.join("\n");
            panic!("seed {seed} on PostgreSQL {version}: {trouble}\n{told}");
        }
        all.add(&played.tally);
    }
    assert!(all.savesets > 0, "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn random_histories_lose_no_row_on_postgresql_17() {
    histories(17, 1..11).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_histories_lose_no_row_on_postgresql_18() {
    histories(18, 101..111).await;
}
