//! Deltas that fail: what the base was stays whole, and what is wrong with it is told.

use std::sync::Arc;

use model::{Blame, Fault as _, Retry};
use object_store::ObjectStoreExt;
use testkit::memory_engine::{Stage, Trouble};
use testkit::{Fault, Operation, Rule, Times};
use vault::DeadOrAlive;

use crate::delta::{backed_up, is_restored};
use crate::rig::{Rig, failed, rows};

/// A shop with a full backup, and a change since.
async fn changed() -> (Rig, vault::Saveset) {
    let rig = Rig::with_a_shop().await;
    let full = backed_up(&rig, "7.1", None).await.unwrap().saveset;
    rig.engine.change("shop", |shop| {
        shop.write("item", 3, rows(5, 70).collect());
        shop.write("customer", 7, rows(2, 70).collect());
    });
    rig.store.forget_calls();
    (rig, full)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash_at_any_call_of_a_delta_it_is_whole_or_never_there_and_its_base_stays() {
    let (mut dead, mut whole) = (0, 0);
    for n in 1.. {
        let (rig, full) = changed().await;
        let rig = Arc::new(rig);
        rig.store.crash_at(n);
        let mut run = tokio::spawn({
            let (rig, full) = (rig.clone(), full.clone());
            async move { backed_up(&rig, "9.1", Some(&full)).await }
        });
        tokio::select! {
            () = rig.store.crashed() => run.abort(),
            ended = &mut run => {
                ended.unwrap().expect("there was no crash");
                break;
            }
        }
        let vault = rig.reopened().await;
        for pin in vault.pins().await.unwrap() {
            assert_eq!(pin.base, Some(full.id()));
            match vault.declare_dead(pin.saveset_id, "the server died").await {
                Ok(DeadOrAlive::Dead) => dead += 1,
                Ok(DeadOrAlive::Committed(saveset)) => {
                    is_restored(&rig, &saveset, "copy").await;
                    whole += 1;
                }
                Err(error) => panic!("call {n}: {error}"),
            }
        }
        // The next one begins anew on the same base.
        let again = vault.begin("11.1".parse().unwrap(), Some(full.id())).await;
        drop(again.unwrap());
        let base = vault.open_saveset(full.id()).await.unwrap();
        rig.store.heal();
        rig.restore(&base, "before").await.unwrap();
    }
    assert!(dead >= 6 && whole >= 1, "{dead} dead, {whole} whole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_base_whose_sheet_or_index_is_damaged_or_missing_is_told_as_such() {
    for fault in [Fault::FlippedBit(40), Fault::Missing] {
        let mut told = 0;
        for nth in 1.. {
            let (mut rig, full) = changed().await;
            // What was read before is not known any more.
            rig.vault = rig.vault_again().await;
            let full = rig.vault.open_saveset(full.id()).await.unwrap();
            let rule = Rule::new(Operation::Get, "packs/*", Times::Nth(nth), fault);
            rig.store.inject(rule);
            let run = backed_up(&rig, "9.1", Some(&full)).await;
            let struck = rig.store.calls().iter().any(|call| call.fault.is_some());
            if run.is_ok() && !struck {
                break;
            }
            if let Ok(made) = run {
                // The end of a pack is read with more before it, which nobody looks at.
                is_restored(&rig, &made.saveset, "copy").await;
                continue;
            }
            told += 1;
            let error = failed(run);
            assert_eq!(error.code(), "base-damaged", "{error}");
            assert_eq!(
                (error.blame(), error.retry()),
                (Blame::Damaged, Retry::NewAttempt)
            );
            assert!(error.hint().unwrap().contains("FULL"));
            let words = error.to_string();
            assert!(
                words.contains(&format!("saveset {} cannot be built on", full.id())),
                "{words}"
            );
            assert!(words.contains("packs/"), "{words}");
            rig.store.heal();
            assert!(rig.vault.pins().await.unwrap().is_empty());
        }
        // Sheets and indexes of two tables.
        assert!(told >= 4, "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_base_that_is_gone_is_told_as_such() {
    let (rig, full) = changed().await;
    rig.vault.drop_saveset(full.id()).await.unwrap();
    let error = failed(backed_up(&rig, "9.1", Some(&full)).await);
    assert_eq!(error.code(), "base-damaged", "{error}");
    let manifest = format!("manifests/{}", full.id());
    rig.store.inner().delete(&manifest.into()).await.unwrap();
    let error = failed(backed_up(&rig, "9.2", Some(&full)).await);
    assert_eq!(error.code(), "base-damaged", "{error}");
    assert!(rig.vault.pins().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_does_not_answer_is_no_damaged_base() {
    let (mut rig, full) = changed().await;
    rig.vault = rig.vault_again().await;
    let rule = Rule::new(Operation::Get, "packs/*", Times::Every, Fault::Error);
    rig.store.inject(rule);
    let full = rig.vault.open_saveset(full.id()).await.unwrap();
    let error = failed(backed_up(&rig, "9.1", Some(&full)).await);
    assert_eq!(error.code(), "vault-unreachable", "{error}");
    assert_eq!(error.retry(), Retry::Later);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delta_that_begins_anew_ends_well() {
    let (rig, full) = changed().await;
    for (attempt, stage) in [(1, Stage::Finish), (2, Stage::Segment)] {
        rig.engine.trouble(stage, 1, Trouble::Mixed);
        let run = backed_up(&rig, &format!("9.{attempt}"), Some(&full)).await;
        match stage {
            Stage::Finish => assert_eq!(failed(run).retry(), Retry::NewAttempt),
            _ => assert!(run.is_err()),
        }
    }
    let delta = backed_up(&rig, "9.3", Some(&full)).await.unwrap();
    assert!(rig.vault.pins().await.unwrap().is_empty());
    is_restored(&rig, &delta.saveset, "copy").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_base_of_a_delta_that_runs_is_not_dropped() {
    let (rig, full) = changed().await;
    rig.engine.trouble(Stage::Segment, 1, Trouble::Hang);
    let rig = Arc::new(rig);
    let before = rig.engine.count(Stage::Segment);
    let run = tokio::spawn({
        let (rig, full) = (rig.clone(), full.clone());
        async move { backed_up(&rig, "9.1", Some(&full)).await }
    });
    rig.engine.reached(Stage::Segment, before + 1).await;
    let refused = rig.vault.drop_saveset(full.id()).await;
    assert_eq!(refused.unwrap_err().code(), "saveset-in-use");
    rig.engine.heal();
    let delta = run.await.unwrap().unwrap();
    rig.vault.drop_saveset(full.id()).await.unwrap();
    is_restored(&rig, &delta.saveset, "copy").await;
}
