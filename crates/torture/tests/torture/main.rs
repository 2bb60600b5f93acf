//! The short form of the torture: some histories on each version, and for each rule a history that
//! loses rows without it.
#![allow(clippy::unwrap_used, reason = "test code: a panic is a failure")]

mod rules;

use std::sync::Arc;

use torture::{Rig, Script, Story, Tally, play};

async fn histories(version: u32, seeds: std::ops::Range<u64>) {
    let mut rig = Arc::new(Rig::start(version));
    let mut all = Tally::default();
    for seed in seeds {
        let story = Story::default();
        let played = play(rig.clone(), seed, Script::default(), story.clone()).await;
        if let Some(trouble) = played.trouble {
            let told = story.text();
            panic!("seed {seed} on PostgreSQL {version}: {trouble}\n{told}");
        }
        all.add(&played.tally);
        if played.theme.ruins_the_server() {
            rig = Arc::new(Rig::start(version));
        }
    }
    // Else nothing would be proved.
    assert!(2 * all.by_summaries > all.deltas, "{all:?}");
    assert!(all.kept_segments > 0 && all.patches > 0, "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn random_histories_lose_no_row_on_postgresql_17() {
    histories(17, 1..9).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_histories_lose_no_row_on_postgresql_18() {
    histories(18, 101..109).await;
}
