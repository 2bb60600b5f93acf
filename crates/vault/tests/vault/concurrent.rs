//! Runs and verdicts at the same moment.

use std::collections::BTreeSet;
use std::sync::Arc;

use object_store::ObjectStore;
use vault::{DeadOrAlive, SavesetState, Vault, VaultError};

use crate::sample::{Keys, content, execution, fill, local, memory, read, saveset_id};

/// Commit and tombstone meet: exactly one of them wins, and both sides know which.
async fn race(store: Arc<dyn ObjectStore>, rounds: i64) {
    let vault = Keys::new().create(store).await;
    let mut committed = 0;
    for round in 1..=rounds {
        let writer = vault.begin(execution(round, 1), None).await.unwrap();
        let id = writer.saveset_id();
        assert_eq!(id, saveset_id(round));
        let draft = fill(&writer, 1).await.unwrap();
        let judge: Vault = vault.clone();
        let commit = tokio::spawn(writer.commit(draft));
        let verdict = tokio::spawn(async move {
            // Where the two meet differs from round to round.
            tokio::time::sleep(std::time::Duration::from_micros(round as u64 * 97 % 3_000)).await;
            judge.declare_dead(id, "a race").await
        });
        let (commit, verdict) = (commit.await.unwrap(), verdict.await.unwrap().unwrap());
        let state = vault.saveset_states().await.unwrap().remove(&id).unwrap();
        match (commit, verdict) {
            (Ok(_), DeadOrAlive::Committed(_)) => {
                committed += 1;
                assert_eq!(state, SavesetState::Committed);
                assert_eq!(read(&vault, id).await.unwrap(), content(1));
            }
            (Err(VaultError::SavesetDead { .. }), DeadOrAlive::Dead) => {
                assert!(matches!(state, SavesetState::Tombstone(_)), "{state:?}");
            }
            (commit, verdict) => panic!("round {round}: {commit:?} and {verdict:?}"),
        }
        assert!(vault.pins().await.unwrap().is_empty());
    }
    println!("{committed} of {rounds} commits won");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn must_5_of_commit_and_tombstone_exactly_one_wins_in_memory() {
    race(memory(), 300).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn must_5_of_commit_and_tombstone_exactly_one_wins_in_a_local_directory() {
    let (_place, store) = local();
    race(store, 60).await;
}

/// Each run opens the vault anew, as another process would: only the pins keep them apart.
async fn begin_together(store: Arc<dyn ObjectStore>, runs: i64) {
    let keys = Arc::new(Keys::new());
    keys.create(store.clone()).await;
    let begun: Vec<_> = (1..=runs)
        .map(|number| {
            let (keys, store) = (keys.clone(), store.clone());
            tokio::spawn(async move {
                let vault = keys.open(store).await.unwrap();
                vault.begin(execution(number, 1), None).await.unwrap()
            })
        })
        .collect();
    let mut writers = Vec::new();
    for task in begun {
        writers.push(task.await.unwrap());
    }
    let ids: BTreeSet<_> = writers.iter().map(|writer| writer.saveset_id()).collect();
    assert_eq!(ids.len(), writers.len());
    for writer in writers {
        let draft = fill(&writer, 1).await.unwrap();
        writer.commit(draft).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn must_4_runs_that_begin_together_take_different_ids_in_memory() {
    for _ in 0..20 {
        begin_together(memory(), 5).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn must_4_runs_that_begin_together_take_different_ids_in_a_local_directory() {
    let (_place, store) = local();
    begin_together(store, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_streams_write_their_packs_at_once() {
    let vault = Keys::new().create(memory()).await;
    let writer = Arc::new(vault.begin(execution(1, 1), None).await.unwrap());
    let streams: Vec<_> = (0..4u64)
        .map(|stream| {
            let writer = writer.clone();
            tokio::spawn(async move {
                let mut packs = writer.pack_writer().unwrap();
                let mut places = Vec::new();
                for round in 0..10 {
                    let frame = crate::sample::noise(stream * 100 + round, 1_000);
                    places.push((frame.clone(), packs.append(&frame).unwrap()));
                    writer
                        .put_pack(packs.take().unwrap().unwrap())
                        .await
                        .unwrap();
                }
                places
            })
        })
        .collect();
    for stream in streams {
        for (frame, place) in stream.await.unwrap() {
            let run = vault::runs(&[place])[0];
            let read = vault.read_run(&run).next().await.unwrap().unwrap();
            assert_eq!(read, frame);
        }
    }
    assert!(writer.stored_bytes() > 40_000);
}
