//! A crash at every store call: the run is dropped there, and the vault is opened again.

use std::sync::Arc;

use object_store::ObjectStore;
use testkit::FaultyStore;
use vault::{DeadOrAlive, SavesetState, Unlock, Vault, VaultError};

use crate::sample::{self, Keys, content, execution, memory, objects, owner, read, saveset_id};

/// Runs `work` with a crash at call n. Answers its result if it came to its end before.
async fn crashed<T>(store: &FaultyStore, n: usize, work: impl Future<Output = T>) -> Option<T> {
    store.crash_at(n);
    tokio::select! {
        biased;
        done = work => Some(done),
        () = store.crashed() => None,
    }
}

/// After a crash: what is pinned is settled as the server does it at its start.
async fn settle(vault: &Vault) {
    for pin in vault.pins().await.unwrap() {
        vault
            .declare_dead(pin.saveset_id, "the server was killed")
            .await
            .unwrap();
    }
    assert!(vault.pins().await.unwrap().is_empty());
}

/// Whatever is committed reads back whole; everything else is a tombstone.
async fn check(vault: &Vault, expected_before: i64) {
    for (id, state) in vault.saveset_states().await.unwrap() {
        match state {
            SavesetState::Committed => {
                assert_eq!(read(vault, id).await.unwrap(), content(id.get() as u64));
            }
            SavesetState::Tombstone(_) => assert!(id.get() > expected_before, "{id}"),
            SavesetState::Damaged(why) => panic!("{why}"),
        }
    }
}

#[tokio::test]
async fn must_6_a_backup_that_dies_at_any_call_leaves_nothing_half_visible() {
    a_backup_dies_at_any_call(&mut memory).await;
}

/// Each try has a store of its own.
pub async fn a_backup_dies_at_any_call(fresh: &mut dyn FnMut() -> Arc<dyn ObjectStore>) {
    let mut committed_by_crash = 0;
    for n in 1.. {
        let (keys, inner) = (Keys::new(), fresh());
        sample::write(&keys.create(inner.clone()).await, 1, 1)
            .await
            .unwrap();
        let store = FaultyStore::new(inner.clone());
        let vault = keys.open(Arc::new(store.clone())).await.unwrap();
        let done = crashed(&store, n, sample::write(&vault, 2, 2)).await;
        let again = keys.open(inner.clone()).await.unwrap();
        let before = again.saveset_states().await.unwrap();
        check(&again, 1).await;
        settle(&again).await;
        check(&again, 1).await;
        let after = again.saveset_states().await.unwrap();
        if before.get(&saveset_id(2)) == Some(&SavesetState::Committed) {
            committed_by_crash += usize::from(done.is_none());
            assert_eq!(
                after, before,
                "a verdict never takes back what was committed"
            );
        }
        // The next run takes an id that was never used, and everything is as ever.
        let next = sample::write(&again, 3, after.len() as u64 + 1)
            .await
            .unwrap();
        assert_eq!(next.id().get(), after.len() as i64 + 1);
        assert_eq!(read(&again, saveset_id(1)).await.unwrap(), content(1));
        if let Some(done) = done {
            assert_eq!(done.unwrap().id(), saveset_id(2));
            assert!(n > 8, "only {n} calls were tried");
            break;
        }
    }
    // Crashes between the manifest's put and the pin's removal.
    assert!(committed_by_crash >= 1);
}

#[tokio::test]
async fn must_9_a_pin_stays_until_its_saveset_is_settled() {
    let mut unsettled = 0;
    for n in 1.. {
        let (keys, inner) = (Keys::new(), memory());
        let store = FaultyStore::new(inner.clone());
        keys.create(inner.clone()).await;
        let vault = keys.open(Arc::new(store.clone())).await.unwrap();
        let done = crashed(&store, n, sample::write(&vault, 1, 1)).await;
        let again = keys.open(inner.clone()).await.unwrap();
        let settled = again
            .saveset_states()
            .await
            .unwrap()
            .contains_key(&saveset_id(1));
        let pins = again.pins().await.unwrap();
        for path in objects(&*inner, "packs").await.into_keys() {
            let name = path.rsplit('/').next().unwrap().to_owned();
            let pinned = pins
                .iter()
                .any(|pin| name.starts_with(&pin.pack_prefix.to_string()));
            assert!(settled || pinned, "call {n}: nothing protects {path}");
            unsettled += usize::from(!settled);
        }
        if done.is_some() {
            break;
        }
    }
    assert!(unsettled >= 3);
}

#[tokio::test]
async fn must_1_making_a_vault_may_die_at_any_call() {
    for n in 1.. {
        let (keys, inner) = (Keys::new(), memory());
        let store = FaultyStore::new(inner.clone());
        let faulty: Arc<dyn ObjectStore> = Arc::new(store.clone());
        let owner = owner();
        let create = Vault::create(faulty, &keys.site, &keys.recovery, &owner);
        let done = crashed(&store, n, create).await;
        let vault = match Vault::open(inner.clone(), Unlock::SiteKey(&keys.site)).await {
            Ok(vault) => vault,
            Err(VaultError::NoVault { .. }) => {
                // Only a key or a probe may be left, and they are in nobody's way.
                assert!(
                    objects(&*inner, "")
                        .await
                        .keys()
                        .all(|path| path.starts_with("keys/") || path.starts_with("probe/"))
                );
                keys.create(inner.clone()).await
            }
            Err(error) => panic!("call {n}: {error}"),
        };
        vault.own(&owner).await.unwrap();
        sample::write(&vault, 1, 1).await.unwrap();
        let recovered = Vault::open(inner, Unlock::RecoveryKey(&keys.recovery))
            .await
            .unwrap();
        assert_eq!(read(&recovered, saveset_id(1)).await.unwrap(), content(1));
        if done.is_some() {
            assert!(n > 5, "only {n} calls were tried");
            break;
        }
    }
}

#[tokio::test]
async fn must_10_a_drop_that_dies_at_any_call_leaves_the_saveset_whole_or_gone() {
    let mut gone = Vec::new();
    for n in 1.. {
        let (keys, inner) = (Keys::new(), memory());
        let vault = keys.create(inner.clone()).await;
        sample::write(&vault, 1, 1).await.unwrap();
        sample::write(&vault, 2, 2).await.unwrap();
        let store = FaultyStore::new(inner.clone());
        let vault = keys.open(Arc::new(store.clone())).await.unwrap();
        let done = crashed(&store, n, vault.drop_saveset(saveset_id(2))).await;
        let again = keys.open(inner).await.unwrap();
        check(&again, 1).await;
        gone.push(matches!(
            again.open_saveset(saveset_id(2)).await,
            Err(VaultError::SavesetDead { .. })
        ));
        let next = sample::write(&again, 3, 3).await.unwrap();
        assert_eq!(
            next.id(),
            saveset_id(3),
            "a dropped id is never taken again"
        );
        if done.is_some() {
            break;
        }
    }
    assert_eq!(gone.iter().filter(|gone| **gone).count(), 1, "{gone:?}");
    assert_eq!(gone.last(), Some(&true));
}

#[tokio::test]
async fn a_verdict_that_dies_at_any_call_may_be_given_again() {
    for n in 1.. {
        let (keys, inner) = (Keys::new(), memory());
        let store = FaultyStore::new(inner.clone());
        keys.create(inner.clone()).await;
        let vault = keys.open(Arc::new(store.clone())).await.unwrap();
        drop(vault.begin(execution(1, 1), None).await.unwrap());
        let id = saveset_id(1);
        let done = crashed(&store, n, vault.declare_dead(id, "it was killed")).await;
        let again = keys.open(inner).await.unwrap();
        let verdict = again.declare_dead(id, "again").await.unwrap();
        assert!(matches!(verdict, DeadOrAlive::Dead));
        assert!(again.pins().await.unwrap().is_empty());
        assert!(
            again
                .begin(execution(1, 2), None)
                .await
                .unwrap()
                .saveset_id()
                > id
        );
        if done.is_some() {
            break;
        }
    }
}

#[tokio::test]
async fn must_14_a_copy_of_the_catalog_that_dies_at_any_call_leaves_an_older_one() {
    for n in 1.. {
        let (keys, inner) = (Keys::new(), memory());
        let vault = keys.create(inner.clone()).await;
        let id = |number| execution(number, 1).execution;
        for number in [3, 20] {
            vault
                .put_catalog(id(number), vec![number as u8; 100])
                .await
                .unwrap();
        }
        let store = FaultyStore::new(inner.clone());
        let vault = keys.open(Arc::new(store.clone())).await.unwrap();
        let done = crashed(&store, n, vault.put_catalog(id(100), vec![100; 100])).await;
        let again = keys.open(inner).await.unwrap();
        let kept = again.catalogs().await.unwrap();
        assert!(kept.len() >= 2 && kept.contains(&id(20)), "{kept:?}");
        for execution in &kept {
            let rows = again.catalog(*execution).await.unwrap();
            assert_eq!(rows, vec![execution.get() as u8; 100]);
        }
        if done.is_some() {
            assert_eq!(kept, [id(100), id(20)]);
            break;
        }
    }
}
