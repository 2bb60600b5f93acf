//! The vault outlives its server: vault and recovery key alone open everything.

use model::ExposeSecret;
use vault::{RecoveryKey, Unlock, Vault};

use crate::sample::{self, Keys, content, execution, objects, saveset_id};

#[tokio::test]
async fn must_15_the_vault_and_the_recovery_key_as_text_are_enough_for_every_row() {
    let place = tempfile::tempdir().unwrap();
    let url = format!("file://{}", place.path().display());
    let written_down = {
        let keys = Keys::new();
        let (store, _) = vault::open_store(&url, &Default::default()).unwrap();
        let vault = keys.create(store).await;
        sample::write(&vault, 1, 10).await.unwrap();
        sample::write(&vault, 2, 20).await.unwrap();
        vault
            .put_catalog(execution(2, 1).execution, b"the catalog's rows".to_vec())
            .await
            .unwrap();
        keys.recovery.to_text().expose_secret().to_owned()
    };
    // Nothing is left but the directory and what somebody wrote on paper.
    let typed: RecoveryKey = written_down
        .to_lowercase()
        .replace('-', " ")
        .replacen("bsrk1", "BSRK1", 1)
        .parse()
        .unwrap();
    let (store, _) = vault::open_store(&url, &Default::default()).unwrap();
    let vault = Vault::open(store, Unlock::RecoveryKey(&typed))
        .await
        .unwrap();
    let states = vault.saveset_states().await.unwrap();
    assert_eq!(states.len(), 2);
    for (id, seed) in [(1, 10), (2, 20)] {
        let found = sample::read(&vault, saveset_id(id)).await.unwrap();
        assert_eq!(found, content(seed));
        let manifest = vault.open_saveset(saveset_id(id)).await.unwrap();
        assert_eq!(
            manifest.databases()[0].tables[0].plan.name.to_string(),
            "public.orders"
        );
    }
    let [newest] = vault.catalogs().await.unwrap()[..] else {
        panic!("one copy of the catalog");
    };
    assert_eq!(vault.catalog(newest).await.unwrap(), b"the catalog's rows");
}

#[tokio::test]
async fn a_damaged_copy_of_the_catalog_is_refused() {
    let (store, keys) = (sample::memory(), Keys::new());
    let vault = keys.create(store.clone()).await;
    let id = execution(7, 1).execution;
    vault.put_catalog(id, sample::noise(1, 500)).await.unwrap();
    let (path, body) = objects(&*store, "catalog").await.pop_first().unwrap();
    for at in 0..body.len() {
        let mut flipped = body.to_vec();
        flipped[at] ^= 1 << (at % 8);
        sample::put(&*store, &path, flipped.into()).await;
        let error = vault.catalog(id).await.unwrap_err().to_string();
        assert!(error.contains("catalog/7"), "byte {at}: {error}");
    }
}
