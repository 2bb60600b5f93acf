//! The vault in Azure Blob Storage, over HTTP, through the settings that a site has; Azurite stands for
//! it. It is judged first by the suite that object_store holds against real ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::Fault as _;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, integration};
use testkit::AzureServer;
use vault::{Depth, Unlock, Vault, open_store};

use crate::round_trip::a_saveset_is_written_and_read;
use crate::sample::{self, Keys, objects, owner, put};

/// The store of a site whose vault is there.
fn vault_at(server: &AzureServer, prefix: &str) -> Arc<dyn ObjectStore> {
    let (store, prefix) = open_store(&server.url(prefix), &server.options()).unwrap();
    Arc::new(PrefixStore::new(store, prefix))
}

#[tokio::test]
async fn the_server_puts_lists_and_deletes_as_one_must_and_holds_the_conditions_of_puts() {
    let server = AzureServer::start();
    let store = vault_at(&server, "conformance");
    integration::put_get_delete_list(&store).await;
    integration::list_uses_directories_correctly(&store).await;
    integration::list_with_delimiter(&store).await;
    integration::rename_and_copy(&store).await;
    integration::put_opts(&store, true).await;
}

#[tokio::test]
async fn a_saveset_is_written_and_read_in_azure() {
    let server = AzureServer::start();
    a_saveset_is_written_and_read(vault_at(&server, "teams/a b")).await;
    a_saveset_is_written_and_read(vault_at(&server, "")).await;
}

#[tokio::test]
async fn of_two_servers_that_make_one_vault_in_azure_at_once_one_has_it() {
    let server = AzureServer::start();
    let store = vault_at(&server, "shop");
    let (mine, theirs) = (Keys::new(), Keys::new());
    let owner = owner();
    let (one, two) = tokio::join!(
        Vault::create(store.clone(), &mine.site, &mine.recovery, &owner),
        Vault::create(store.clone(), &theirs.site, &theirs.recovery, &owner),
    );
    assert_eq!(u8::from(one.is_ok()) + u8::from(two.is_ok()), 1);
    let keys = if one.is_ok() { mine } else { theirs };
    Vault::open(store, Unlock::SiteKey(&keys.site))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_wrong_key_and_a_wrong_container_in_azure_are_told_apart() {
    let server = AzureServer::start();
    let refused = async |url: &str, options: &BTreeMap<String, String>| {
        let keys = Keys::new();
        let store = open_store(url, options).unwrap().0;
        let made = Vault::create(store, &keys.site, &keys.recovery, &owner()).await;
        made.err().unwrap()
    };
    let mut options = server.options();
    let error = refused("az://no-such-container/x", &options).await;
    assert_eq!(error.code(), "vault-unreachable", "{error}");
    options.insert("access_key".to_owned(), "YW5vdGhlci1vbmU=".to_owned());
    let error = refused(&server.url(""), &options).await;
    assert_eq!(error.code(), "vault-access-denied", "{error}");
    let said = (&error as &dyn model::Fault).sentence();
    assert!(!said.contains("YW5vdGhlci1vbmU="), "{said}");
}

/// Azure has no range of a blob without bytes, or behind a blob's end.
#[tokio::test]
async fn a_blob_that_is_emptied_or_cut_short_is_damaged_and_not_a_store_out_of_reach() {
    let server = AzureServer::start();
    let store = vault_at(&server, "shop");
    let keys = Keys::new();
    let vault = keys.create(store.clone()).await;
    let saveset = sample::write(&vault, 1, 1).await.unwrap();
    let whole = objects(&*store, "packs").await;
    for kept in [0, 1, 30] {
        for (path, body) in &whole {
            put(&*store, path, body.slice(..kept)).await;
            // One that has read nothing yet, and one that knows where the frames were.
            let fresh = keys.open(store.clone()).await.unwrap();
            let fresh = fresh.open_saveset(saveset.id()).await.unwrap();
            for saveset in [&fresh, &saveset] {
                let report = saveset.verify(Depth::Authenticate, &|_| ()).await.unwrap();
                assert!(!report.is_sound(), "{path}, {kept} bytes");
                assert!(report.damaged.iter().all(|found| found.object == *path));
            }
            put(&*store, path, body.clone()).await;
        }
    }
    put(&*store, "manifests/1", bytes::Bytes::new()).await;
    let error = vault.open_saveset(saveset.id()).await.err().unwrap();
    assert_eq!(error.code(), "vault-damaged", "{error}");
}
