//! The vault in an S3 store, over HTTP, through the settings that a site has. The server of the
//! tests is judged first, by the suite that object_store holds against real ones, as far as a vault
//! asks for it: it never gets under a condition, and never puts in parts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{FRAME_BYTES, Fault as _};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, PutMode, PutOptions, integration};
use testkit::S3Server;
use vault::{ContentHash, StoreLimits, Unlock, Vault, VaultError, open_store, runs};

use crate::crash::a_backup_dies_at_any_call;
use crate::damage::{cut_or_removed, scene_in};
use crate::round_trip::a_saveset_is_written_and_read;
use crate::sample::{
    self, Keys, content, drain, execution, noise, objects, owner, read, saveset_id,
};

/// The store of a site whose vault is there.
fn vault_at(
    server: &S3Server,
    prefix: &str,
    options: &BTreeMap<String, String>,
) -> Arc<dyn ObjectStore> {
    let (store, prefix) = open_store(&server.url(prefix), options).unwrap();
    Arc::new(PrefixStore::new(store, prefix))
}

#[tokio::test]
async fn the_server_puts_gets_deletes_and_lists_as_one_must() {
    let server = S3Server::start().await;
    integration::put_get_delete_list(&*server.store()).await;
}

#[tokio::test]
async fn the_server_holds_the_conditions_of_puts() {
    let server = S3Server::start().await;
    integration::put_opts(&*server.store(), true).await;
}

#[tokio::test]
async fn the_server_lists_folders_as_one_must() {
    let server = S3Server::start().await;
    integration::list_uses_directories_correctly(&*server.store()).await;
    integration::list_with_delimiter(&*server.store()).await;
    integration::list_with_offset_exclusivity(&*server.store()).await;
}

#[tokio::test]
async fn the_server_copies_and_renames() {
    let server = S3Server::start().await;
    integration::rename_and_copy(&*server.store()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_puts_where_nothing_may_stand_exactly_one_wins() {
    let server = S3Server::start().await;
    for round in 0..5 {
        let mut tries = tokio::task::JoinSet::new();
        for number in 0..32 {
            let (store, at) = (server.store(), Path::from(format!("race/{round}")));
            let create = PutOptions::from(PutMode::Create);
            tries.spawn(async move { store.put_opts(&at, vec![number; 9].into(), create).await });
        }
        let answers = tries.join_all().await;
        let won = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(won, 1, "{answers:?}");
    }
}

#[tokio::test]
async fn a_saveset_is_written_and_read_in_s3() {
    let server = S3Server::start().await;
    let store = vault_at(&server, "teams/a b", &server.options());
    a_saveset_is_written_and_read(store).await;
    // Everything of the vault is below its prefix, another one may be beside it.
    let all = objects(&*server.store(), "").await;
    assert!(
        all.keys().all(|path| path.starts_with("teams/a b/")),
        "{all:?}"
    );
    a_saveset_is_written_and_read(vault_at(&server, "", &server.options())).await;
}

#[tokio::test]
async fn must_6_a_backup_to_s3_that_dies_at_any_call_leaves_nothing_half_visible() {
    let server = S3Server::start().await;
    let mut number = 0;
    a_backup_dies_at_any_call(&mut || {
        number += 1;
        vault_at(&server, &format!("v{number}"), &server.options())
    })
    .await;
}

#[tokio::test]
async fn must_3_anything_cut_short_or_removed_in_s3_is_refused() {
    let server = S3Server::start().await;
    let store = vault_at(&server, "shop", &server.options());
    cut_or_removed(&scene_in(store).await).await;
}

#[tokio::test]
async fn two_servers_that_make_one_vault_at_once_do_not_both_have_it() {
    let server = S3Server::start().await;
    let store = vault_at(&server, "shop", &server.options());
    let keys = [Keys::new(), Keys::new()];
    let owner = owner();
    let [one, two] = &keys;
    let (one, two) = tokio::join!(
        Vault::create(store.clone(), &one.site, &one.recovery, &owner),
        Vault::create(store.clone(), &two.site, &two.recovery, &owner),
    );
    let made = [one, two];
    assert_eq!(made.iter().filter(|vault| vault.is_ok()).count(), 1);
    for (vault, keys) in made.into_iter().zip(&keys) {
        match vault {
            Ok(vault) => {
                let opened = Vault::open(store.clone(), Unlock::SiteKey(&keys.site)).await;
                assert_eq!(opened.unwrap().id(), vault.id());
            }
            Err(error) => assert_eq!(error.code(), "vault-exists", "{error}"),
        }
    }
}

#[tokio::test]
async fn a_wrong_key_a_wrong_bucket_and_no_server_are_told_apart() {
    let server = S3Server::start().await;
    let made = async |url: &str, options: &BTreeMap<String, String>| {
        let keys = Keys::new();
        let store = open_store(url, options).unwrap().0;
        let made = Vault::create(store, &keys.site, &keys.recovery, &owner()).await;
        made.err().unwrap()
    };
    let mut options = server.options();
    let secret = options.insert("secret_access_key".to_owned(), "another-one".to_owned());
    let error = made(&server.url(""), &options).await;
    assert_eq!(error.code(), "vault-access-denied", "{error}");
    assert!(
        !(&error as &dyn model::Fault)
            .sentence()
            .contains("another-one")
    );
    options.insert("secret_access_key".to_owned(), secret.unwrap());
    let error = made("s3://no-such-bucket/x", &options).await;
    assert_eq!(error.code(), "vault-unreachable", "{error}");
    let said = (&error as &dyn model::Fault).sentence();
    assert!(
        said.contains("NoSuchBucket") || said.contains("no-such-bucket"),
        "{said}"
    );
    // Nothing listens at port 1.
    options.insert("endpoint".to_owned(), "http://127.0.0.1:1".to_owned());
    let error = made(&server.url(""), &options).await;
    assert_eq!(error.code(), "vault-unreachable", "{error}");
}

#[tokio::test]
async fn a_server_that_overwrites_in_spite_of_the_condition_gets_no_vault() {
    let server = S3Server::start().await;
    server.overwrite();
    let keys = Keys::new();
    let store = vault_at(&server, "shop", &server.options());
    let made = Vault::create(store, &keys.site, &keys.recovery, &owner()).await;
    let error = made.err().unwrap();
    assert!(
        matches!(error, VaultError::NoConditionalPut { .. }),
        "{error}"
    );
    assert_eq!(
        (error.code(), error.hint().is_some()),
        ("vault-unsuitable", true)
    );
    assert!(objects(&*server.store(), "").await.is_empty());
}

#[tokio::test]
async fn a_server_that_errs_or_hangs_fails_the_call_with_the_reason_and_within_its_time() {
    let server = S3Server::start().await;
    let keys = Keys::new();
    let vault = keys
        .create(vault_at(&server, "shop", &server.options()))
        .await;
    sample::write(&vault, 1, 1).await.unwrap();
    server.err();
    let before = server.requests();
    let error = vault.saveset_states().await.unwrap_err();
    assert_eq!(error.code(), "vault-unreachable", "{error}");
    let said = (&error as &dyn model::Fault).sentence();
    assert!(
        said.contains("503") && said.contains("told so by the test"),
        "{said}"
    );
    // It was tried again, and not for ever.
    assert!((4..=12).contains(&(server.requests() - before)));
    server.hang();
    let short = StoreLimits {
        small: Duration::from_millis(300),
        tries: 2,
        ..sample::SHORT
    };
    let begun = Instant::now();
    let error = vault.with_limits(short).saveset_states().await.unwrap_err();
    assert!(matches!(error, VaultError::TimedOut { .. }), "{error}");
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    server.heal();
    assert_eq!(read(&vault, saveset_id(1)).await.unwrap(), content(1));
}

#[tokio::test]
async fn a_full_pack_is_one_put_and_reads_back_from_s3() {
    let server = S3Server::start().await;
    let vault = Keys::new()
        .create(vault_at(&server, "shop", &server.options()))
        .await;
    let writer = vault.begin(execution(1, 1), None).await.unwrap();
    let mut packs = writer.pack_writer().unwrap();
    let frame = noise(1, FRAME_BYTES);
    let mut places = Vec::new();
    while !packs.is_full() {
        places.push(packs.append(&frame).unwrap());
    }
    let before = server.requests();
    writer
        .put_pack(packs.take().unwrap().unwrap())
        .await
        .unwrap();
    assert_eq!(server.requests(), before + 1);
    let whole = frame.repeat(places.len());
    let hash = ContentHash::of(&whole);
    let mut reader = vault.read_checked(&runs(&places), whole.len() as u64, hash);
    assert!(drain(&mut reader).await.unwrap() == whole);
}
