//! Versions, owners, keys, and stores that cannot hold a vault.

use std::sync::Arc;

use model::Fault as _;
use object_store::ObjectStore;
use testkit::{Fault, FaultyStore, Operation, Rule, Times};
use vault::{Unlock, Vault, VaultError};

use crate::sample::{self, Keys, memory, objects, owner, put, saveset_id};

async fn made() -> (Arc<dyn ObjectStore>, Keys) {
    let (store, keys) = (memory(), Keys::new());
    let vault = keys.create(store.clone()).await;
    sample::write(&vault, 1, 1).await.unwrap();
    (store, keys)
}

#[tokio::test]
async fn must_1_vault_json_names_version_id_and_cipher_and_never_changes() {
    let (store, keys) = made().await;
    let text = objects(&*store, "").await["vault.json"].clone();
    let file: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(file["format"], 1);
    assert_eq!(file["cipher"], "AES-256-GCM");
    let vault = keys.open(store.clone()).await.unwrap();
    assert_eq!(file["vault_id"], vault.id().to_string());
    sample::write(&vault, 2, 1).await.unwrap();
    vault.drop_saveset(saveset_id(1)).await.unwrap();
    assert_eq!(objects(&*store, "").await["vault.json"], text);
}

#[tokio::test]
async fn must_13_a_newer_format_is_refused_with_a_sentence() {
    let (store, keys) = made().await;
    let all = objects(&*store, "").await;
    for path in all
        .keys()
        .filter(|path| path.ends_with("json") || path.starts_with("keys/"))
    {
        let mut file: serde_json::Value = serde_json::from_slice(&all[path]).unwrap();
        file["format"] = 2.into();
        // Whatever else a newer release writes there.
        file["vault_id"] = serde_json::json!({"new": "form"});
        put(&*store, path, file.to_string().into()).await;
        let error = keys.open(store.clone()).await.err().unwrap();
        let sentence = error.to_string();
        assert!(
            sentence.contains(path) && sentence.contains("format version 2"),
            "{sentence}"
        );
        assert!(sentence.contains("newer release"), "{sentence}");
        put(&*store, path, all[path].clone()).await;
    }
    let vault = keys.open(store.clone()).await.unwrap();
    let mut newer = all["manifests/1"].to_vec();
    newer[8] = 2;
    put(&*store, "manifests/1", newer.into()).await;
    let error = vault.open_saveset(saveset_id(1)).await.unwrap_err();
    assert!(
        matches!(error, VaultError::NewerFormat { found: 2, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn must_3_any_bit_flipped_in_vault_json_or_the_key_is_refused() {
    let (store, keys) = made().await;
    let all = objects(&*store, "").await;
    let ours = |path: &&String| path.ends_with("json") || path.starts_with("keys/");
    for path in all.keys().filter(ours) {
        let wraps_other = all[path].windows(15).position(|w| w == b"by_recovery_key");
        for at in 0..all[path].len() {
            // The other wrap of the same key is not looked at.
            if wraps_other.is_some_and(|start| at > start + 17) {
                break;
            }
            for bit in 0..8 {
                let mut flipped = all[path].to_vec();
                flipped[at] ^= 1 << bit;
                put(&*store, path, flipped.into()).await;
                let opened = Vault::open(store.clone(), Unlock::SiteKey(&keys.site)).await;
                assert!(opened.is_err(), "{path}: bit {bit} of byte {at}");
            }
        }
        put(&*store, path, all[path].clone()).await;
    }
}

#[tokio::test]
async fn must_1_a_vault_is_never_made_over_another_or_over_its_remains() {
    let (store, keys) = made().await;
    let again = |store: Arc<dyn ObjectStore>| async move {
        let other = Keys::new();
        let made = Vault::create(store, &other.site, &other.recovery, &owner()).await;
        made.err().unwrap()
    };
    let error = again(store.clone()).await;
    assert!(matches!(&error, VaultError::AlreadyThere { found, .. } if found == "vault.json"));
    let all = objects(&*store, "").await;
    sample::remove(&*store, "vault.json").await;
    let error = again(store.clone()).await;
    assert!(matches!(&error, VaultError::AlreadyThere { found, .. } if found == "manifests/1"));
    assert!(error.hint().is_some());
    let opened = Vault::open(store.clone(), Unlock::SiteKey(&keys.site)).await;
    assert!(matches!(opened.err().unwrap(), VaultError::NoVault { .. }));
    put(&*store, "vault.json", all["vault.json"].clone()).await;
    assert_eq!(
        objects(&*store, "").await,
        all,
        "nothing was written meanwhile"
    );
}

#[tokio::test]
async fn must_12_only_the_owner_writes() {
    let (store, keys) = made().await;
    let vault = Vault::open(store.clone(), Unlock::SiteKey(&keys.site))
        .await
        .unwrap();
    let stranger = "server-2".parse().unwrap();
    let error = vault.own(&stranger).await.unwrap_err();
    assert!(
        matches!(&error, VaultError::OwnedByAnother { owner, number: 1 } if owner == "server-1"),
        "{error}"
    );
    // Reading is free; nothing is written.
    assert!(vault.open_saveset(saveset_id(1)).await.is_ok());
    let refused = [
        vault.begin(sample::execution(9, 1), None).await.err(),
        vault.declare_dead(saveset_id(2), "x").await.err(),
        vault.drop_saveset(saveset_id(1)).await.err(),
        vault
            .put_catalog(sample::execution(9, 1).execution, vec![1])
            .await
            .err(),
    ];
    for error in refused {
        assert!(
            matches!(error, Some(VaultError::NotOwned { .. })),
            "{error:?}"
        );
    }
    // The highest number owns it.
    let newer = r#"{"format":1,"owner":"server-2"}"#;
    put(&*store, "owners/10", newer.into()).await;
    put(
        &*store,
        "owners/9",
        r#"{"format":1,"owner":"server-3"}"#.into(),
    )
    .await;
    vault.own(&stranger).await.unwrap();
    assert!(vault.own(&owner()).await.is_err());
}

#[tokio::test]
async fn another_sites_key_opens_nothing() {
    let (store, keys) = made().await;
    let other = Keys::new();
    for unlock in [
        Unlock::SiteKey(&other.site),
        Unlock::RecoveryKey(&other.recovery),
    ] {
        let error = Vault::open(store.clone(), unlock).await.err().unwrap();
        assert!(matches!(error, VaultError::WrongKey { .. }), "{error}");
    }
    for unlock in [
        Unlock::SiteKey(&keys.site),
        Unlock::RecoveryKey(&keys.recovery),
    ] {
        Vault::open(store.clone(), unlock).await.unwrap();
    }
}

#[tokio::test]
async fn a_key_of_a_creation_that_came_to_nothing_is_passed_over_and_a_second_one_refused() {
    let (store, keys) = made().await;
    let (other_store, _) = made().await;
    let (path, foreign) = objects(&*other_store, "keys").await.pop_first().unwrap();
    put(&*store, &path, foreign).await;
    let vault = keys.open(store.clone()).await.unwrap();
    assert_eq!(
        sample::read(&vault, saveset_id(1)).await.unwrap(),
        sample::content(1)
    );
    let own = objects(&*store, "keys")
        .await
        .into_iter()
        .find(|(p, _)| *p != path)
        .unwrap();
    put(&*store, "keys/00112233445566778899aabbccddeeff", own.1).await;
    let error = keys.open(store).await.err().unwrap();
    assert!(
        error
            .to_string()
            .contains("keys/00112233445566778899aabbccddeeff"),
        "{error}"
    );
}

/// A store whose every put overwrites, as some that call themselves S3.
#[derive(Debug)]
struct Careless(Arc<dyn ObjectStore>);

impl std::fmt::Display for Careless {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a careless store")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Careless {
    async fn put_opts(
        &self,
        location: &object_store::path::Path,
        payload: object_store::PutPayload,
        _: object_store::PutOptions,
    ) -> object_store::Result<object_store::PutResult> {
        self.0.put_opts(location, payload, Default::default()).await
    }

    async fn put_multipart_opts(
        &self,
        location: &object_store::path::Path,
        options: object_store::PutMultipartOptions,
    ) -> object_store::Result<Box<dyn object_store::MultipartUpload>> {
        self.0.put_multipart_opts(location, options).await
    }

    async fn get_opts(
        &self,
        location: &object_store::path::Path,
        options: object_store::GetOptions,
    ) -> object_store::Result<object_store::GetResult> {
        self.0.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: futures::stream::BoxStream<
            'static,
            object_store::Result<object_store::path::Path>,
        >,
    ) -> futures::stream::BoxStream<'static, object_store::Result<object_store::path::Path>> {
        self.0.delete_stream(locations)
    }

    fn list(
        &self,
        prefix: Option<&object_store::path::Path>,
    ) -> futures::stream::BoxStream<'static, object_store::Result<object_store::ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(
        &self,
        prefix: Option<&object_store::path::Path>,
    ) -> object_store::Result<object_store::ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &object_store::path::Path,
        to: &object_store::path::Path,
        options: object_store::CopyOptions,
    ) -> object_store::Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_probe_finds_a_store_without_put_if_absent_and_leaves_nothing() {
    let (store, keys) = made().await;
    let careless = Arc::new(Careless(store.clone()));
    let vault = Vault::open(careless, Unlock::SiteKey(&keys.site))
        .await
        .unwrap();
    let error = vault.probe().await.unwrap_err();
    assert!(
        matches!(error, VaultError::NoConditionalPut { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("a careless store"), "{error}");
    assert!(objects(&*store, "probe").await.is_empty());
}

#[tokio::test]
async fn a_probe_fails_with_what_the_store_does_not_do() {
    let (inner, keys) = made().await;
    for (operation, fault) in [
        (Operation::Put, Fault::Denied),
        (Operation::Get, Fault::Denied),
        (Operation::Get, Fault::FlippedBit(3)),
        (Operation::List, Fault::Denied),
        (Operation::Delete, Fault::Denied),
    ] {
        let store = FaultyStore::new(inner.clone());
        let vault = keys.open(Arc::new(store.clone())).await.unwrap();
        store.inject(Rule::new(operation, "probe*", Times::Every, fault));
        let error = vault.probe().await.unwrap_err();
        assert!(
            error.to_string().contains("probe"),
            "{operation:?}: {error}"
        );
    }
}
