//! Compaction: what is live leaves packs that hold little else, and nothing that reads notices.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use testkit::{Fault, FaultyStore, Operation, Rule, Times};
use vault::{CompactReport, Depth, Vault, VaultError};

use crate::delta::{self, Dice, Made, check, delta, full};
use crate::sample::{self, Keys, SHORT, memory, noise, objects, owner, put, remove};
use crate::shifted_clock::ShiftedClock;

const DAY: Duration = Duration::from_secs(86_400);

async fn compact(vault: &Vault) -> CompactReport {
    vault.compact(&owner()).await.unwrap()
}

async fn sweep(vault: &Vault) -> vault::SweepReport {
    vault.sweep(&owner(), Duration::ZERO).await.unwrap()
}

async fn bytes(store: &dyn ObjectStore, folder: &str) -> u64 {
    let all = objects(store, folder).await;
    all.values().map(|body| body.len() as u64).sum()
}

/// Bytes of all frames that some saveset refers to, each counted once.
fn referred(kept: &[Made]) -> u64 {
    let mut all = HashMap::new();
    for made in kept {
        let sheet = made.saveset.databases()[0].tables[0]
            .sheet
            .as_ref()
            .unwrap();
        let own = sheet.stored_bytes - made.sheet.stored_bytes();
        all.insert((sheet.runs[0].pack, sheet.runs[0].first), own);
        for entry in made.sheet.entries() {
            let Some(index) = entry.index.first() else {
                continue;
            };
            all.insert((index.pack, index.first), entry.stored_bytes);
        }
    }
    all.values().sum()
}

/// A vault with many dead frames: a chain of deltas of which only some are kept.
async fn scene(vault: &Vault, seed: u64) -> Vec<Made> {
    let mut dice = Dice::new(seed);
    let mut all = vec![full(vault, 1, 900, &mut dice).await.unwrap()];
    for number in 2..=9 {
        let next = delta(vault, number, all.last().unwrap(), 900, &mut dice).await;
        all.push(next.unwrap());
    }
    let mut kept = Vec::new();
    for (place, made) in all.into_iter().enumerate() {
        if place % 4 == 0 && place > 0 {
            kept.push(made);
        } else {
            vault.drop_saveset(made.saveset.id()).await.unwrap();
        }
    }
    kept
}

async fn check_all(vault: &Vault, kept: &[Made], what: &str) {
    for made in kept {
        check(vault, made, what).await;
    }
}

#[tokio::test]
async fn must_22_after_300_random_deltas_and_drops_packs_are_at_most_half_as_large_again_as_what_is_kept()
 {
    let store = Arc::new(ShiftedClock::new(memory()));
    let keys = Keys::new();
    let vault = keys.create(store.clone()).await;
    let seed: u64 = std::env::var("SEED").map_or(20_261_124, |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let mut dice = Dice::new(seed);
    // Readers of another process: they learn of what was moved when they miss it.
    let reader = keys.open(store.clone()).await.unwrap();
    let mut kept: Vec<Made> = Vec::new();
    let (mut most, mut packs, mut rewritten, mut hours) = (0f64, 0, 0, 0);
    for number in 1..=300 {
        let next = match kept.is_empty() || dice.roll(12) == 0 {
            true => full(&vault, number, 1_800, &mut dice).await.unwrap(),
            false => {
                let base = match dice.roll(4) {
                    0 => dice.roll(kept.len() as u32) as usize,
                    _ => kept.len() - 1,
                };
                let next = delta(&vault, number, &kept[base], 1_800, &mut dice).await;
                next.unwrap()
            }
        };
        kept.push(next);
        while kept.len() > 2 + dice.roll(6) as usize {
            let dropped = kept.remove(dice.roll(kept.len() as u32) as usize);
            vault.drop_saveset(dropped.saveset.id()).await.unwrap();
        }
        // A sweep knows whether a compaction has something to do.
        let before = match number % 5 {
            0 => Some(vault.sweep(&owner(), DAY).await.unwrap()),
            _ => None,
        };
        let moved = compact(&vault).await.rewritten;
        if let Some(before) = before {
            assert_eq!(before.wants_compaction, moved > 0, "saveset {number}");
        }
        rewritten += moved;
        for _ in 0..2 {
            hours += 25;
            store.set_hours(hours);
            let swept = vault.sweep(&owner(), DAY).await.unwrap();
            assert!(!swept.wants_compaction && swept.bytes_live <= swept.bytes_kept);
        }
        let there = bytes(&*store, "packs").await + bytes(&*store, "moves").await;
        let share = there as f64 / referred(&kept) as f64;
        most = most.max(share);
        assert!(share <= 1.5, "saveset {number}: {share:.3}");
        packs = packs.max(objects(&*store, "packs").await.len());
        check_all(
            &reader,
            &kept[kept.len() - 1..],
            &format!("saveset {number}"),
        )
        .await;
        if number % 20 == 0 {
            check_all(&reader, &kept, &format!("after {number}")).await;
            let fresh = keys.open(store.clone()).await.unwrap();
            check_all(&fresh, &kept, &format!("fresh after {number}")).await;
            for made in &kept {
                let saveset = fresh.open_saveset(made.saveset.id()).await.unwrap();
                let report = saveset.verify(Depth::Decompress, &|_| ()).await.unwrap();
                assert!(report.is_sound(), "{report:?}");
            }
        }
    }
    println!("at most {most:.3} times, {packs} packs at most, {rewritten} rewritten");
    assert!(packs < 40, "{packs}");
    assert!(rewritten > 40, "{rewritten}");
    assert!(objects(&*store, "moves").await.len() <= 2);
    assert!(objects(&*store, "pins").await.is_empty());
}

#[tokio::test]
async fn must_21_a_compaction_may_die_at_any_call() {
    let mut held = [0, 0];
    for n in 1.. {
        let (keys, inner) = (Keys::new(), memory());
        let vault = keys.create(inner.clone()).await;
        let kept = &scene(&vault, 9).await[..];
        let store = FaultyStore::new(inner.clone());
        let mortal = keys.open(Arc::new(store.clone())).await.unwrap();
        store.crash_at(n);
        let owner = owner();
        let done = tokio::select! {
            biased;
            report = mortal.compact(&owner) => Some(report.unwrap()),
            () = store.crashed() => None,
        };
        let again = keys.open(inner.clone()).await.unwrap();
        check_all(&again, kept, &format!("call {n}")).await;
        held[usize::from(objects(&*inner, "moves").await.contains_key("moves/1"))] += 1;
        // What it left is taken away, and the next one comes to its end.
        sweep(&again).await;
        sweep(&again).await;
        check_all(&again, kept, &format!("call {n}, swept")).await;
        compact(&again).await;
        sweep(&again).await;
        sweep(&again).await;
        let fresh = keys.open(inner.clone()).await.unwrap();
        check_all(&fresh, kept, &format!("call {n}, compacted")).await;
        assert!(bytes(&*inner, "packs").await as f64 <= 1.5 * referred(kept) as f64);
        assert!(objects(&*inner, "pins").await.is_empty());
        if let Some(report) = done {
            assert!(report.rewritten > 0 && n > 15, "{report:?}, {n} calls");
            break;
        }
    }
    assert!(held[0] > 5 && held[1] > 1, "{held:?}");
}

#[tokio::test]
async fn must_21_a_list_whose_answer_is_lost_holds() {
    let (keys, inner) = (Keys::new(), memory());
    let kept = scene(&keys.create(inner.clone()).await, 9).await;
    let store = FaultyStore::new(inner.clone());
    let vault = keys.open(Arc::new(store.clone())).await.unwrap();
    let vault = vault.with_limits(SHORT);
    vault.own(&owner()).await.unwrap();
    store.inject(Rule::new(
        Operation::Put,
        "moves/1",
        Times::Nth(1),
        Fault::AnswerLost,
    ));
    assert!(compact(&vault).await.rewritten > 0);
    sweep(&vault).await;
    sweep(&vault).await;
    check_all(&keys.open(inner).await.unwrap(), &kept, "lost").await;

    // A store that fails there for good moves nothing.
    let (keys, inner) = (Keys::new(), memory());
    let kept = scene(&keys.create(inner.clone()).await, 11).await;
    let store = FaultyStore::new(inner.clone());
    let vault = keys.open(Arc::new(store.clone())).await.unwrap();
    let vault = vault.with_limits(SHORT);
    vault.own(&owner()).await.unwrap();
    store.inject(Rule::new(
        Operation::Put,
        "moves/1",
        Times::Every,
        Fault::Error,
    ));
    vault.compact(&owner()).await.unwrap_err();
    store.heal();
    assert!(objects(&*inner, "moves").await.is_empty());
    check_all(&keys.open(inner).await.unwrap(), &kept, "failed").await;
}

/// Whoever has opened a saveset reads it to its end, wherever its frames go meanwhile.
#[tokio::test]
async fn a_reader_follows_frames_that_are_moved_again_and_again_under_it() {
    let (keys, store) = (Keys::new(), memory());
    let vault = keys.create(store.clone()).await;
    let mut kept = scene(&vault, 7).await;
    let reader = keys.open(store.clone()).await.unwrap();
    let made = kept.pop().unwrap();
    let saveset = reader.open_saveset(made.saveset.id()).await.unwrap();
    let sheet = saveset.sheet(0, 0).await.unwrap();
    let patches = saveset.patches(&sheet).await.unwrap();
    let mut dice = Dice::new(8);
    let mut base = kept.pop().unwrap();
    for (turn, segment) in (10_i64..).zip(&sheet.segments) {
        let mut rows = saveset.segment_rows(segment, &patches).await.unwrap();
        let first = rows.next().await.unwrap();
        let next = delta(&vault, turn, &base, 900, &mut dice).await.unwrap();
        vault.drop_saveset(base.saveset.id()).await.unwrap();
        base = next;
        compact(&vault).await;
        sweep(&vault).await;
        sweep(&vault).await;
        let mut found = first.unwrap_or_default().to_vec();
        while let Some(bytes) = rows.next().await.unwrap() {
            found.extend_from_slice(&bytes);
        }
        let expected = delta::within(&made.blocks, segment.blocks);
        assert!(found == expected.into_values().flatten().collect::<Vec<u8>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_21_drops_and_deltas_at_the_moment_of_a_compaction_lose_nothing() {
    for seed in 0..4u64 {
        let (keys, inner) = (Keys::new(), memory());
        let mut kept = scene(&keys.create(inner.clone()).await, seed).await;
        let store = FaultyStore::new(inner.clone());
        for (place, pattern) in ["manifests/*", "pins/*", "packs/*", "moves/*"]
            .into_iter()
            .enumerate()
        {
            for (turn, operation) in [Operation::Get, Operation::Put, Operation::List]
                .into_iter()
                .enumerate()
            {
                let micros = (seed + 1) * 389 * (1 + place as u64 * 3 + turn as u64) % 2_900;
                let delay = Fault::Delay(Duration::from_micros(micros));
                store.inject(Rule::new(operation, pattern, Times::Every, delay));
            }
        }
        let mover = keys.open(Arc::new(store.clone())).await.unwrap();
        let moving = tokio::spawn(async move {
            let mut rewritten = 0;
            while rewritten < 40 {
                rewritten += compact(&mover).await.rewritten;
                sweep(&mover).await;
            }
        });
        let vault = keys.open(Arc::new(store)).await.unwrap();
        let mut dice = Dice::new(seed + 100);
        let mut number = 10;
        while !moving.is_finished() {
            number += 1;
            assert!(number < 2_000, "nothing is moved");
            let next = delta(&vault, number, kept.last().unwrap(), 900, &mut dice).await;
            kept.push(next.unwrap());
            let dropped = kept.remove(0);
            vault.drop_saveset(dropped.saveset.id()).await.unwrap();
            check(
                &vault,
                kept.last().unwrap(),
                &format!("seed {seed}, saveset {number}"),
            )
            .await;
        }
        moving.await.unwrap();
        check_all(
            &keys.open(inner).await.unwrap(),
            &kept,
            &format!("seed {seed}"),
        )
        .await;
    }
}

#[tokio::test]
async fn a_damaged_pack_is_left_alone_and_the_others_are_moved() {
    let (keys, store) = (Keys::new(), memory());
    let vault = keys.create(store.clone()).await;
    let kept = scene(&vault, 9).await;
    let sheet = kept[0].sheet.clone();
    let run = sheet
        .entries()
        .find_map(|entry| entry.rows.first())
        .unwrap();
    let path = run.pack.path();
    let mut body = objects(&*store, "packs").await[&path].to_vec();
    // The first frames of this pack are live: it cannot be copied.
    let middle = body.len() / 3;
    body[..middle].iter_mut().for_each(|byte| *byte ^= 1);
    put(&*store, &path, body.clone().into()).await;
    let vault = keys.open(store.clone()).await.unwrap();
    let report = compact(&vault).await;
    assert!(report.rewritten > 0, "{report:?}");
    sweep(&vault).await;
    sweep(&vault).await;
    assert_eq!(objects(&*store, "packs").await[&path], body);
}

#[tokio::test]
async fn a_lost_list_of_moved_frames_stops_the_sweep_before_it_deletes_anything() {
    let (keys, store) = (Keys::new(), memory());
    let vault = keys.create(store.clone()).await;
    let kept = scene(&vault, 11).await;
    assert!(compact(&vault).await.rewritten > 0);
    sweep(&vault).await;
    sweep(&vault).await;
    let lists = objects(&*store, "moves").await;
    let before: HashSet<String> = objects(&*store, "packs").await.into_keys().collect();
    for path in lists.keys() {
        remove(&*store, path).await;
    }
    for _ in 0..2 {
        let fresh = keys.open(store.clone()).await.unwrap();
        let error = fresh.sweep(&owner(), Duration::ZERO).await.unwrap_err();
        assert!(matches!(error, VaultError::Missing { .. }), "{error}");
    }
    let after: HashSet<String> = objects(&*store, "packs").await.into_keys().collect();
    assert_eq!(before, after);
    // A list that cannot be read stops it too, and is named.
    for (path, body) in &lists {
        let mut body = body.to_vec();
        body[80] ^= 1;
        put(&*store, path, body.into()).await;
    }
    let fresh = keys.open(store.clone()).await.unwrap();
    let error = fresh.sweep(&owner(), Duration::ZERO).await.unwrap_err();
    assert!(error.to_string().contains("moves/"), "{error}");
    for (path, body) in lists {
        put(&*store, &path, body).await;
    }
    check_all(&keys.open(store).await.unwrap(), &kept, "mended").await;
}

#[tokio::test]
async fn a_vault_without_waste_is_left_alone_and_only_its_owner_compacts() {
    let (keys, store) = (Keys::new(), memory());
    let vault = keys.create(store.clone()).await;
    for number in 1..=2 {
        sample::write(&vault, number, number as u64).await.unwrap();
    }
    let before = objects(&*store, "").await;
    assert_eq!(compact(&vault).await, CompactReport::default());
    assert_eq!(objects(&*store, "").await, before);
    let error = vault
        .compact(&"server-2".parse().unwrap())
        .await
        .unwrap_err();
    assert!(
        matches!(error, VaultError::OwnedByAnother { .. }),
        "{error}"
    );
    // What is damaged is not moved away from.
    put(&*store, "manifests/1", noise(1, 9_000).into()).await;
    vault.compact(&owner()).await.unwrap_err();
}

#[tokio::test]
async fn many_tiny_packs_become_few() {
    let (keys, store) = (Keys::new(), memory());
    let vault = keys.create(store.clone()).await;
    for number in 1..=20 {
        sample::write(&vault, number, number as u64).await.unwrap();
    }
    assert_eq!(objects(&*store, "packs").await.len(), 60);
    let report = compact(&vault).await;
    assert_eq!((report.rewritten, report.written), (60, 1));
    sweep(&vault).await;
    sweep(&vault).await;
    assert_eq!(objects(&*store, "packs").await.len(), 1);
    let fresh = keys.open(store).await.unwrap();
    for number in 1..=20 {
        let found = sample::read(&fresh, sample::saveset_id(number))
            .await
            .unwrap();
        assert_eq!(found, sample::content(number as u64));
    }
}
