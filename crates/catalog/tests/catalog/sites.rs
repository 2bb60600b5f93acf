use std::collections::BTreeMap;

use catalog::{CatalogError, Page, SecretChange, SecretsChange};
use model::{ExposeSecret, Fault, SecretString, SiteSecrets, SiteType};

use crate::world::{World, keys, restore_of, shop, site_id, site_of};

#[tokio::test]
async fn a_site_reads_back_as_it_was_made_also_after_a_restart() {
    let world = World::new().await;
    let mut definition = site_of("shop");
    definition.description = Some("the shop's database".to_owned());
    definition
        .vault
        .options
        .insert("region".to_owned(), "eu".to_owned());
    let secrets = SiteSecrets {
        password: Some(SecretString::from("pw")),
        vault_options: BTreeMap::from([("secret_key".to_owned(), SecretString::from("sk"))]),
    };
    let made = world
        .catalog
        .create_site(&definition, &secrets, &keys())
        .await
        .unwrap();
    assert_eq!(made.definition, definition);
    assert_eq!((made.version, made.has_password), (1, true));
    let world = world.reopened().await;
    assert_eq!(world.catalog.site(&shop()).await.unwrap(), made);
    let secrets = world.catalog.site_secrets(&shop()).await.unwrap();
    assert_eq!(secrets.password.unwrap().expose_secret(), "pw");
    assert_eq!(secrets.vault_options["secret_key"].expose_secret(), "sk");
    let found = world.catalog.site_keys(&shop()).await.unwrap();
    assert_eq!(
        found.site_key.unwrap().expose_secret(),
        keys().site_key.unwrap().expose_secret()
    );
    assert_eq!(
        found.recovery_key.expose_secret(),
        keys().recovery_key.expose_secret()
    );
}

#[tokio::test]
async fn a_site_id_is_used_once() {
    let world = World::with_site().await;
    let again = world
        .catalog
        .create_site(&site_of("shop"), &SiteSecrets::default(), &keys())
        .await
        .unwrap_err();
    assert_eq!(again.code(), "site-exists");
    let missing = world.catalog.site(&site_id("nowhere")).await.unwrap_err();
    assert_eq!(missing.to_string(), "there is no site nowhere");
}

#[tokio::test]
async fn a_change_keeps_the_secrets_that_it_does_not_name() {
    let world = World::new().await;
    let secrets = SiteSecrets {
        password: Some(SecretString::from("pw")),
        vault_options: BTreeMap::from([("secret_key".to_owned(), SecretString::from("sk"))]),
    };
    world
        .catalog
        .create_site(&site_of("shop"), &secrets, &keys())
        .await
        .unwrap();
    let mut definition = site_of("shop");
    definition.soft_limit = 3;
    let changed = world
        .catalog
        .update_site(&definition, &SecretsChange::default(), Some(1))
        .await
        .unwrap();
    assert_eq!((changed.version, changed.definition.soft_limit), (2, 3));
    let kept = world.catalog.site_secrets(&shop()).await.unwrap();
    assert_eq!(kept.password.unwrap().expose_secret(), "pw");

    let change = SecretsChange {
        password: SecretChange::Remove,
        vault_options: BTreeMap::from([(
            "secret_key".to_owned(),
            SecretChange::Set(SecretString::from("new")),
        )]),
    };
    let changed = world
        .catalog
        .update_site(&definition, &change, Some(2))
        .await
        .unwrap();
    assert!(!changed.has_password);
    let secrets = world.catalog.site_secrets(&shop()).await.unwrap();
    assert!(secrets.password.is_none());
    assert_eq!(secrets.vault_options["secret_key"].expose_secret(), "new");
}

#[tokio::test]
async fn a_change_of_what_was_changed_meanwhile_is_refused() {
    let world = World::with_site().await;
    let keep = SecretsChange::default();
    world
        .catalog
        .update_site(&site_of("shop"), &keep, Some(1))
        .await
        .unwrap();
    let stale = world
        .catalog
        .update_site(&site_of("shop"), &keep, Some(1))
        .await
        .unwrap_err();
    assert_eq!(stale.code(), "stale-version");
    assert_eq!(
        stale.to_string(),
        "site shop has changed: it is at version 2, not 1"
    );
    world
        .catalog
        .update_site(&site_of("shop"), &keep, None)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_type_of_a_site_never_changes() {
    let world = World::with_site().await;
    let mut definition = site_of("shop");
    definition.site_type = SiteType::Sqlite;
    let error = world
        .catalog
        .update_site(&definition, &SecretsChange::default(), None)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the site_type cannot change: it is POSTGRESQL, not SQLITE"
    );
}

#[tokio::test]
async fn sites_are_listed_by_id_in_pages() {
    let world = World::new().await;
    for id in ["c", "a", "e", "b", "d"] {
        world.add_site(id).await;
    }
    let ids = async |page| {
        let rows = world.catalog.sites(page).await.unwrap();
        assert_eq!(rows.total, 5);
        rows.rows
            .iter()
            .map(|site| site.definition.site_id.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(Page::All).await, ["a", "b", "c", "d", "e"]);
    assert_eq!(ids(Page::Numbered { number: 2, size: 2 }).await, ["c", "d"]);
    assert_eq!(ids(Page::Numbered { number: 3, size: 2 }).await, ["e"]);
    assert!(
        ids(Page::Numbered {
            number: u64::MAX,
            size: 1000
        })
        .await
        .is_empty()
    );
}

#[tokio::test]
async fn a_site_with_jobs_is_not_deleted_and_one_without_leaves_nothing_behind() {
    let (world, job) = World::with_job().await;
    world.back_up(job, 1).await;
    let error = world.catalog.delete_site(&shop()).await.unwrap_err();
    assert!(
        matches!(error, CatalogError::SiteHasJobs { jobs: 1, .. }),
        "{error}"
    );
    world.catalog.delete_job(&shop(), job).await.unwrap();
    world.catalog.delete_site(&shop()).await.unwrap();
    assert_eq!(
        world.catalog.site(&shop()).await.unwrap_err().code(),
        "no-site"
    );
    assert_eq!(
        world.catalog.site_keys(&shop()).await.unwrap_err().code(),
        "no-site"
    );

    world.add_site("shop").await;
    assert_eq!(
        world
            .catalog
            .savesets(&shop(), None, Page::All)
            .await
            .unwrap()
            .total,
        0
    );
    let next = world.add_job("anew").await;
    assert!(next > job, "ids are never used again");
}

#[tokio::test]
async fn a_site_that_a_restore_goes_into_is_not_deleted() {
    let (world, job) = World::with_job().await;
    let backup = world.back_up(job, 1).await;
    world.add_site("drill").await;
    let restore = restore_of(job, backup, 1, &site_id("drill"));
    let restore = world
        .catalog
        .enqueue_restore(&shop(), &restore, None)
        .await
        .unwrap();
    let error = world
        .catalog
        .delete_site(&site_id("drill"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "site-busy");
    assert!(
        error
            .hint()
            .unwrap()
            .contains(&restore.execution_id.to_string())
    );
    world
        .catalog
        .request_abort(restore.execution_id, "not needed")
        .await
        .unwrap();
    world.catalog.delete_site(&site_id("drill")).await.unwrap();
}
