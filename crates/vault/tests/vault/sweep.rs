//! The sweep: what nothing refers to goes, in two phases; everything else stays.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use testkit::{Fault, FaultyStore, Operation, Rule, Times};
use vault::{DeadOrAlive, Saveset, SavesetState, SweepReport, Vault, VaultError};

use crate::sample::{
    self, Keys, SHORT, content, execution, fill, local, memory, noise, objects, owner, put, read,
    saveset_id,
};
use crate::shifted_clock::ShiftedClock;

const DAY: Duration = Duration::from_secs(86_400);

async fn sweep(vault: &Vault) -> SweepReport {
    vault.sweep(&owner(), Duration::ZERO).await.unwrap()
}

/// A saveset that refers to everything of its base and to nothing else.
async fn write_again(vault: &Vault, number: i64, base: &Saveset) -> Result<Saveset, VaultError> {
    let writer = vault.begin(execution(number, 1), Some(base.id())).await?;
    let mut draft = base.manifest().contents.clone();
    draft.execution = writer.execution();
    writer.commit(draft).await
}

async fn paths(store: &dyn ObjectStore) -> Vec<String> {
    let mut paths: Vec<_> = objects(store, "packs").await.into_keys().collect();
    paths.extend(objects(store, "deleted").await.into_keys());
    paths
}

#[tokio::test]
async fn a_dropped_saveset_is_marked_then_removed_and_its_neighbours_stay() {
    let (_place, store) = local();
    let vault = Keys::new().create(store.clone()).await;
    for number in 1..=2 {
        sample::write(&vault, number, number as u64).await.unwrap();
    }
    let before = objects(&*store, "packs").await;
    assert_eq!(sweep(&vault).await.live, before.len() as u64);
    vault.drop_saveset(saveset_id(1)).await.unwrap();
    let first = sweep(&vault).await;
    assert_eq!((first.live, first.marked, first.removed), (3, 3, 0));
    assert_eq!(objects(&*store, "packs").await, before);
    let second = sweep(&vault).await;
    assert_eq!((second.live, second.marked, second.removed), (3, 0, 3));
    let after = objects(&*store, "packs").await;
    let bytes = |packs: &BTreeMap<String, bytes::Bytes>| {
        packs.values().map(|b| b.len() as u64).sum::<u64>()
    };
    assert_eq!(second.bytes_freed, bytes(&before) - bytes(&after));
    assert!(objects(&*store, "deleted").await.is_empty());
    assert_eq!(read(&vault, saveset_id(2)).await.unwrap(), content(2));
}

/// Two sweeps, and in the midst of each a run builds on the last saveset, which is then dropped:
/// whoever lists the manifests once sees neither.
#[tokio::test]
async fn must_16_a_manifest_that_is_put_while_others_are_read_is_counted() {
    let (keys, inner) = (Keys::new(), memory());
    let vault = keys.create(inner.clone()).await;
    let mut last = sample::write(&vault, 1, 1).await.unwrap();
    for number in 2..=3 {
        let store = FaultyStore::new(inner.clone());
        let slow = keys.open(Arc::new(store.clone())).await.unwrap();
        let pause = Fault::Delay(Duration::from_millis(300));
        store.inject(Rule::new(
            Operation::Get,
            "manifests/*",
            Times::Every,
            pause,
        ));
        let sweeper = tokio::spawn(async move { sweep(&slow).await });
        while store
            .calls()
            .iter()
            .all(|call| !call.path.starts_with("manifests/"))
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        let next = write_again(&vault, number, &last).await.unwrap();
        vault.drop_saveset(last.id()).await.unwrap();
        let report = sweeper.await.unwrap();
        assert_eq!((report.live, report.marked, report.removed), (3, 0, 0));
        last = next;
    }
    assert_eq!(read(&vault, last.id()).await.unwrap(), content(1));
}

#[tokio::test]
async fn must_16_packs_of_a_run_under_way_stay_and_go_when_it_is_dead() {
    let (keys, store) = (Keys::new(), memory());
    let vault = keys.create(store.clone()).await;
    let writer = vault.begin(execution(1, 1), None).await.unwrap();
    fill(&writer, 1).await.unwrap();
    for _ in 0..3 {
        let report = sweep(&vault).await;
        assert_eq!((report.packs, report.live), (3, 3));
    }
    // As after a crash: nobody has given it up in order.
    let id = writer.saveset_id();
    drop(writer);
    vault.declare_dead(id, "a test").await.unwrap();
    assert_eq!(sweep(&vault).await.marked, 3);
    assert_eq!(sweep(&vault).await.removed, 3);
    assert!(paths(&*store).await.is_empty());
}

#[tokio::test]
async fn must_18_a_run_that_gives_up_takes_its_own_packs_along() {
    let (keys, store) = (Keys::new(), memory());
    let vault = keys.create(store.clone()).await;
    let kept = sample::write(&vault, 1, 1).await.unwrap();
    let before = objects(&*store, "packs").await;
    let writer = vault.begin(execution(2, 1), Some(kept.id())).await.unwrap();
    fill(&writer, 1).await.unwrap();
    assert_eq!(objects(&*store, "packs").await.len(), before.len() + 3);
    writer.abandon("a test").await.unwrap();
    assert_eq!(objects(&*store, "packs").await, before);
}

#[tokio::test]
async fn must_18_a_run_that_gives_up_on_a_full_disk_makes_room_for_its_tombstone() {
    let (keys, inner) = (Keys::new(), memory());
    let store = FaultyStore::new(inner.clone());
    keys.create(inner.clone()).await;
    let vault = keys.open(Arc::new(store.clone())).await.unwrap();
    let vault = vault.with_limits(SHORT);
    vault.own(&owner()).await.unwrap();
    let writer = vault.begin(execution(1, 1), None).await.unwrap();
    fill(&writer, 1).await.unwrap();
    // As often as it is tried before something is removed.
    for n in 1..=SHORT.tries as usize {
        let full = Rule::new(Operation::Put, "manifests/*", Times::Nth(n), Fault::Error);
        store.inject(full);
    }
    let id = writer.saveset_id();
    assert!(matches!(
        writer.abandon("a test").await.unwrap(),
        DeadOrAlive::Dead
    ));
    assert!(objects(&*inner, "packs").await.is_empty());
    let states = vault.saveset_states().await.unwrap();
    assert!(matches!(states[&id], SavesetState::Tombstone(_)));
}

#[tokio::test]
async fn must_17_nothing_is_deleted_while_something_cannot_be_read() {
    for pattern in ["manifests/2", "packs/*", "pins/*", "manifests"] {
        let (keys, inner) = (Keys::new(), memory());
        let store = FaultyStore::new(inner.clone());
        keys.create(inner.clone()).await;
        let vault = keys
            .open(Arc::new(store.clone()))
            .await
            .unwrap()
            .with_limits(SHORT);
        vault.own(&owner()).await.unwrap();
        for number in 1..=2 {
            sample::write(&vault, number, 1).await.unwrap();
        }
        let running = vault.begin(execution(3, 1), None).await.unwrap();
        vault.drop_saveset(saveset_id(1)).await.unwrap();
        assert_eq!(sweep(&vault).await.marked, 3);
        let before = paths(&*inner).await;
        let operation = if pattern == "manifests" {
            Operation::List
        } else {
            Operation::Get
        };
        store.inject(Rule::new(operation, pattern, Times::Every, Fault::Error));
        // A vault that has seen nothing yet reads everything.
        let fresh = keys
            .open(Arc::new(store.clone()))
            .await
            .unwrap()
            .with_limits(SHORT);
        fresh.own(&owner()).await.unwrap();
        fresh.sweep(&owner(), Duration::ZERO).await.unwrap_err();
        assert_eq!(paths(&*inner).await, before, "{pattern}");
        store.heal();
        assert_eq!(sweep(&fresh).await.removed, 3, "{pattern}");
        drop(running);
    }
}

#[tokio::test]
async fn must_17_nothing_is_deleted_while_something_is_damaged() {
    for place in ["manifests/2", "pins/3"] {
        let (keys, store) = (Keys::new(), memory());
        let vault = keys.create(store.clone()).await;
        for number in 1..=2 {
            sample::write(&vault, number, 1).await.unwrap();
        }
        let _running = vault.begin(execution(3, 1), None).await.unwrap();
        vault.drop_saveset(saveset_id(1)).await.unwrap();
        assert_eq!(sweep(&vault).await.marked, 3);
        let before = paths(&*store).await;
        put(&*store, place, noise(9, 9_000).into()).await;
        vault.sweep(&owner(), Duration::ZERO).await.unwrap_err();
        assert_eq!(paths(&*store).await, before, "{place}");
    }
}

#[tokio::test]
async fn must_17_nothing_is_deleted_while_the_base_of_a_run_is_gone() {
    let (keys, store) = (Keys::new(), memory());
    let vault = keys.create(store.clone()).await;
    let base = sample::write(&vault, 1, 1).await.unwrap();
    sample::write(&vault, 2, 2).await.unwrap();
    let dropped = {
        let copy = memory();
        for (path, body) in objects(&*store, "").await {
            put(&*copy, &path, body).await;
        }
        let other = keys.open(copy.clone()).await.unwrap();
        other.drop_saveset(base.id()).await.unwrap();
        objects(&*copy, "manifests").await
    };
    let running = vault.begin(execution(3, 1), Some(base.id())).await.unwrap();
    // A drop whose put came late, after its server had given it up.
    put(&*store, "manifests/1", dropped["manifests/1"].clone()).await;
    let before = paths(&*store).await;
    for _ in 0..2 {
        let error = vault.sweep(&owner(), Duration::ZERO).await.unwrap_err();
        assert!(matches!(error, VaultError::BaseGone { .. }), "{error}");
    }
    assert_eq!(paths(&*store).await, before);
    running.abandon("a test").await.unwrap();
    assert_eq!(sweep(&vault).await.marked, 3);
}

#[tokio::test]
async fn must_18_the_grace_period_passes_by_the_stores_clock_alone() {
    let store = Arc::new(ShiftedClock::new(memory()));
    let vault = Keys::new().create(store.clone()).await;
    sample::write(&vault, 1, 1).await.unwrap();
    vault.drop_saveset(saveset_id(1)).await.unwrap();
    store.set_hours(100);
    assert_eq!(vault.sweep(&owner(), DAY).await.unwrap().marked, 3);
    // The store's clock has jumped back, or has not moved enough: nothing is old enough.
    for hours in [0, 99, 100, 123] {
        store.set_hours(hours);
        let report = vault.sweep(&owner(), DAY).await.unwrap();
        assert_eq!((report.waiting, report.removed), (3, 0), "{hours}");
    }
    store.set_hours(125);
    assert_eq!(vault.sweep(&owner(), DAY).await.unwrap().removed, 3);
}

#[tokio::test]
async fn must_18_a_pack_that_is_referred_to_loses_its_mark() {
    let (keys, store) = (Keys::new(), memory());
    let vault = keys.create(store.clone()).await;
    sample::write(&vault, 1, 1).await.unwrap();
    let packs: Vec<_> = objects(&*store, "packs").await.into_keys().collect();
    let name = packs[0].rsplit('/').next().unwrap();
    put(&*store, &format!("deleted/{name}"), "{}".into()).await;
    put(&*store, &format!("deleted/{}", "0".repeat(32)), "{}".into()).await;
    let report = sweep(&vault).await;
    assert_eq!((report.live, report.removed), (3, 0));
    assert!(objects(&*store, "deleted").await.is_empty());
    assert_eq!(read(&vault, saveset_id(1)).await.unwrap(), content(1));
}

#[tokio::test]
async fn must_19_a_sweep_may_die_at_any_call() {
    for n in 1.. {
        let (keys, inner) = (Keys::new(), memory());
        let vault = keys.create(inner.clone()).await;
        let base = sample::write(&vault, 1, 1).await.unwrap();
        let heir = write_again(&vault, 2, &base).await.unwrap();
        for number in 3..=4 {
            sample::write(&vault, number, 9).await.unwrap();
        }
        vault.drop_saveset(saveset_id(1)).await.unwrap();
        vault.drop_saveset(saveset_id(3)).await.unwrap();
        sweep(&vault).await;
        vault.drop_saveset(saveset_id(4)).await.unwrap();
        let store = FaultyStore::new(inner.clone());
        let mortal = keys.open(Arc::new(store.clone())).await.unwrap();
        store.crash_at(n);
        let done = tokio::select! {
            biased;
            report = sweep(&mortal) => Some(report),
            () = store.crashed() => None,
        };
        let again = keys.open(inner.clone()).await.unwrap();
        assert_eq!(read(&again, heir.id()).await.unwrap(), content(1));
        // A mark never stays for ever, nor does a pack.
        sweep(&again).await;
        sweep(&again).await;
        assert_eq!(paths(&*inner).await.len(), 3, "call {n}");
        assert_eq!(read(&again, heir.id()).await.unwrap(), content(1));
        if let Some(report) = done {
            assert_eq!((report.live, report.marked, report.removed), (3, 3, 3));
            assert!(n > 15, "only {n} calls were tried");
            break;
        }
    }
}

#[tokio::test]
async fn only_the_owner_sweeps() {
    let (keys, store) = (Keys::new(), memory());
    let vault = keys.create(store.clone()).await;
    let other = "server-2".parse().unwrap();
    let error = vault.sweep(&other, Duration::ZERO).await.unwrap_err();
    assert!(
        matches!(error, VaultError::OwnedByAnother { .. }),
        "{error}"
    );
    // Another server took the vault over while this one had it open.
    put(
        &*store,
        "owners/2",
        r#"{"format":1,"owner":"server-2"}"#.into(),
    )
    .await;
    let error = vault.sweep(&owner(), Duration::ZERO).await.unwrap_err();
    assert!(
        matches!(error, VaultError::OwnedByAnother { .. }),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sweeps_and_backups_at_the_same_moment_lose_nothing() {
    for seed in 0..6u64 {
        let (keys, inner) = (Keys::new(), memory());
        keys.create(inner.clone()).await;
        let store = FaultyStore::new(inner.clone());
        let delay = |micros: u64| Fault::Delay(Duration::from_micros(micros));
        for (place, pattern) in ["manifests/*", "pins/*", "packs/*", "deleted/*"]
            .into_iter()
            .enumerate()
        {
            for (turn, operation) in [Operation::Get, Operation::Put, Operation::List]
                .into_iter()
                .enumerate()
            {
                let micros = (seed + 1) * 389 * (1 + place as u64 * 3 + turn as u64) % 2_900;
                store.inject(Rule::new(operation, pattern, Times::Every, delay(micros)));
            }
        }
        let sweeper = keys.open(Arc::new(store.clone())).await.unwrap();
        let sweeping = tokio::spawn(async move {
            let mut removed = 0;
            loop {
                removed += sweep(&sweeper).await.removed;
                if removed >= 18 {
                    return removed;
                }
            }
        });
        let vault = keys.open(Arc::new(store)).await.unwrap();
        let mut kept = sample::write(&vault, 1, 1).await.unwrap();
        let mut number = 1;
        while !sweeping.is_finished() {
            number += 1;
            assert!(number < 3_000, "the sweeps remove nothing");
            let next = if number % 4 == 0 {
                let full = sample::write(&vault, number, 1).await.unwrap();
                vault.drop_saveset(kept.id()).await.unwrap();
                full
            } else {
                let again = write_again(&vault, number, &kept).await.unwrap();
                vault.drop_saveset(kept.id()).await.unwrap();
                again
            };
            kept = next;
            assert_eq!(
                read(&vault, kept.id()).await.unwrap(),
                content(1),
                "seed {seed}"
            );
        }
        sweeping.await.unwrap();
        assert_eq!(
            read(&vault, kept.id()).await.unwrap(),
            content(1),
            "seed {seed}"
        );
    }
}

/// A full backup of so many bytes of rows, which no compressor shortens.
async fn write_sized(vault: &Vault, number: i64, bytes: usize) -> Result<Saveset, VaultError> {
    let writer = vault.begin(execution(number, 1), None).await?;
    let mut packs = writer.pack_writer()?;
    let mut draft = sample::draft(writer.execution(), Vec::new(), None);
    let mut never = |_| panic!("it fills no pack");
    let mut cutter = vault::FrameCutter::new(&mut packs, &mut never);
    cutter.push(&noise(number as u64, bytes))?;
    let written = cutter.finish()?;
    draft.databases[0].dictionary.push(vault::BlobRef {
        name: "rows".to_owned(),
        runs: vault::runs(&written.places),
        plain_bytes: written.bytes,
        stored_bytes: written.stored(),
        hash: written.hash,
    });
    if let Some(pack) = packs.take()? {
        writer.put_pack(pack).await?;
    }
    if number % 7 == 0 {
        writer.abandon("every seventh fails").await?;
        return Err(VaultError::NoFreeId);
    }
    writer.commit(draft).await
}

#[tokio::test]
async fn after_300_random_backups_the_vault_is_at_most_half_as_large_again_as_what_is_kept() {
    let store = memory();
    let vault = Keys::new().create(store.clone()).await;
    let seed: u64 = std::env::var("SEED").map_or(20_260_131, |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let dice = noise(seed, 1_200);
    let mut kept: Vec<Saveset> = Vec::new();
    let mut most = 0f64;
    for number in 1..=300 {
        let roll = &dice[number * 4 - 4..number * 4];
        let bytes = 20_000 + usize::from(roll[0]) * 600;
        kept.extend(write_sized(&vault, number as i64, bytes).await.ok());
        while kept.len() > 3 + usize::from(roll[1]) % 5 {
            let dropped = kept.remove(usize::from(roll[2]) % kept.len());
            vault.drop_saveset(dropped.id()).await.unwrap();
        }
        sweep(&vault).await;
        sweep(&vault).await;
        let folders = ["packs", "manifests", "deleted", "pins"];
        let mut there = 0;
        for folder in folders {
            there += objects(&*store, folder)
                .await
                .values()
                .map(bytes::Bytes::len)
                .sum::<usize>();
        }
        let referred: u64 = kept.iter().map(Saveset::bytes_referred).sum();
        if kept.len() >= 3 {
            most = most.max(there as f64 / referred as f64);
            assert!(
                there as f64 <= 1.5 * referred as f64,
                "backup {number}: {there} bytes for {referred}"
            );
        }
    }
    println!("at most {most:.3} times the bytes referred to");
}
