//! Any byte of any object flipped: a look at the vault and a verification of its savesets find and name
//! it, or the vault does not open and the error names it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use model::Fault;
use object_store::ObjectStore;
use vault::{Depth, SavesetState, Unlock, Vault, VaultError};

use crate::delta::{Dice, delta, full};
use crate::sample::{self, Keys, execution, memory, objects, owner, put, saveset_id};

/// Something of everything: plain and patched sheets, tombstones of both kinds, a pin, copies of the
/// catalog, moved frames.
async fn everything(store: &Arc<dyn ObjectStore>, keys: &Keys) -> Vault {
    let vault = keys.create(store.clone()).await;
    let mut dice = Dice::new(3);
    let mut base = full(&vault, 1, 60, &mut dice).await.unwrap();
    for number in 2..=3 {
        let next = delta(&vault, number, &base, 60, &mut dice).await.unwrap();
        vault.drop_saveset(base.saveset.id()).await.unwrap();
        base = next;
    }
    sample::write(&vault, 4, 4).await.unwrap();
    let dead = vault.begin(execution(5, 1), None).await.unwrap();
    dead.abandon("a test").await.unwrap();
    for number in [3, 4] {
        let id = execution(number, 1).execution;
        vault.put_catalog(id, vec![7; 300]).await.unwrap();
    }
    assert!(vault.compact(&owner()).await.unwrap().rewritten > 0);
    for _ in 0..2 {
        vault
            .sweep(&owner(), std::time::Duration::ZERO)
            .await
            .unwrap();
    }
    drop(vault.begin(execution(6, 1), None).await.unwrap());
    vault
}

/// All that can be found, each by its path.
async fn found(store: &Arc<dyn ObjectStore>, keys: &Keys, by_recovery: bool) -> Vec<String> {
    let unlock = match by_recovery {
        true => Unlock::RecoveryKey(&keys.recovery),
        false => Unlock::SiteKey(&keys.site),
    };
    let opened = async {
        let vault = Vault::open(store.clone(), unlock).await?;
        vault.own(&owner()).await?;
        Ok::<_, VaultError>(vault)
    };
    let vault = match opened.await {
        Ok(vault) => vault,
        Err(error) => return vec![(&error as &dyn Fault).sentence()],
    };
    let mut found: Vec<String> = vault
        .check()
        .await
        .unwrap()
        .iter()
        .map(|d| d.object.clone())
        .collect();
    for (id, state) in vault.saveset_states().await.unwrap() {
        if state == SavesetState::Committed {
            match vault.verify_saveset(id, Depth::Authenticate, &|_| ()).await {
                Ok(report) => found.extend(report.damaged.into_iter().map(|d| d.object)),
                Err(error) => found.push((&error as &dyn Fault).sentence()),
            }
        }
    }
    found
}

/// All of a small object; of a larger one its beginning, its end, and samples between.
fn sampled(body: &Bytes) -> impl Iterator<Item = usize> + use<> {
    let length = body.len();
    (0..length).filter(move |at| *at < 80 || at + 200 > length || at % 61 == 0)
}

#[tokio::test]
async fn must_3_any_byte_of_any_object_that_is_flipped_is_found_and_named() {
    let (store, keys) = (memory(), Keys::new());
    everything(&store, &keys).await;
    let all: BTreeMap<String, Bytes> = objects(&*store, "").await;
    let folders = [
        "vault.json",
        "keys/",
        "owners/",
        "manifests/",
        "packs/",
        "pins/",
        "moves/",
        "catalog/",
    ];
    for folder in folders {
        assert!(all.keys().any(|path| path.starts_with(folder)), "{folder}");
    }
    for by_recovery in [false, true] {
        assert_eq!(
            found(&store, &keys, by_recovery).await,
            Vec::<String>::new()
        );
    }
    let (mut flips, mut dead_bytes) = (0, 0);
    for (path, body) in &all {
        for at in sampled(body) {
            let mut flipped = body.to_vec();
            flipped[at] ^= 1 << (at % 8);
            put(&*store, path, flipped.into()).await;
            let found = found(&store, &keys, at % 2 == 1).await;
            let named = found.iter().any(|found| found.contains(path.as_str()));
            // A pack may hold frames that nothing refers to any more: what is flipped there harms nobody.
            let dead = found.is_empty() && path.starts_with("packs/");
            assert!(named || dead, "byte {at} of {path}: {found:?}");
            dead_bytes += usize::from(dead);
            flips += 1;
        }
        put(&*store, path, body.clone()).await;
    }
    println!(
        "{flips} bytes of {} objects, {dead_bytes} of dead frames",
        all.len()
    );
    assert!(dead_bytes * 10 < flips, "{dead_bytes} of {flips}");
    assert!(flips > 3_000);
}

/// The other key is seen to be broken while there is still one that opens the vault.
#[tokio::test]
async fn a_key_that_does_not_open_any_more_is_found_by_the_one_that_does() {
    let (store, keys) = (memory(), Keys::new());
    let vault = keys.create(store.clone()).await;
    sample::write(&vault, 1, 1).await.unwrap();
    let (path, body) = objects(&*store, "keys").await.pop_first().unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    for (broken, by_recovery) in [("by_site_key", true), ("by_recovery_key", false)] {
        let at = text.find(broken).unwrap() + broken.len() + 3;
        let mut flipped = text.clone().into_bytes();
        flipped[at] = if flipped[at] == b'0' { b'1' } else { b'0' };
        put(&*store, &path, flipped.into()).await;
        let unlock = match by_recovery {
            true => Unlock::RecoveryKey(&keys.recovery),
            false => Unlock::SiteKey(&keys.site),
        };
        let vault = Vault::open(store.clone(), unlock).await.unwrap();
        let found = vault.check().await.unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].object, path);
        let read = sample::read(&vault, saveset_id(1)).await.unwrap();
        assert_eq!(
            read,
            sample::content(1),
            "what is whole is read all the same"
        );
    }
}
