use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use catalog::{Catalog, CatalogError, MasterKey};
use model::{ExposeSecret, Fault, SecretString, SiteSecrets};

use crate::world::{KEY, World, keys, shop, site_of};

const PASSWORD: &str = "correct-horse-battery-staple";
const OPTION: &str = "wJalrXUtnFEMI-K7MDENG";
const TOKEN: &str = "an-administrators-token-0123456789";

async fn world_with_secrets() -> World {
    let world = World::new().await;
    let secrets = SiteSecrets {
        password: Some(SecretString::from(PASSWORD)),
        vault_options: BTreeMap::from([("secret_key".to_owned(), SecretString::from(OPTION))]),
    };
    world
        .catalog
        .create_site(&site_of("shop"), &secrets, &keys())
        .await
        .unwrap();
    world
        .catalog
        .first_token(Some(&SecretString::from(TOKEN)))
        .await
        .unwrap();
    world
}

#[tokio::test]
async fn no_secret_is_in_the_clear_in_any_file() {
    let world = world_with_secrets().await;
    let data = world.data();
    let keys = keys();
    let secrets = [
        PASSWORD,
        OPTION,
        TOKEN,
        KEY,
        keys.site_key.as_ref().unwrap().expose_secret(),
        keys.recovery_key.expose_secret(),
    ];
    let look = || {
        let mut seen = 0;
        for entry in std::fs::read_dir(&data).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            seen += bytes.len();
            for secret in secrets {
                let hex = hex::encode(secret);
                for text in [secret, hex.as_str()] {
                    let found = bytes
                        .windows(text.len())
                        .any(|window| window == text.as_bytes());
                    assert!(!found, "{text} is there");
                }
            }
        }
        assert!(
            seen > 20_000,
            "the files that hold everything were looked at"
        );
    };
    look();
    world.catalog.close().await;
    look();
}

#[tokio::test]
async fn nothing_shows_a_secret_in_debug_output() {
    let world = world_with_secrets().await;
    let key = MasterKey::from_text(&SecretString::from(KEY)).unwrap();
    let secrets = world.catalog.site_secrets(&shop()).await.unwrap();
    let found = world.catalog.site_keys(&shop()).await.unwrap();
    let record = world.catalog.site(&shop()).await.unwrap();
    let shown = format!(
        "{key:?} {secrets:?} {found:?} {record:?} {:?}",
        world.catalog
    );
    for secret in [
        PASSWORD,
        OPTION,
        KEY,
        keys().site_key.unwrap().expose_secret(),
    ] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[tokio::test]
async fn a_sealed_value_does_not_open_in_another_place() {
    let world = world_with_secrets().await;
    world.add_site("other").await;
    let file = world.data().join("catalog.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
    let outside = sqlx::SqlitePool::connect_with(options).await.unwrap();
    // The password of one site under the name of another, and under another name.
    for statement in [
        "INSERT INTO site_secret SELECT 'other', name, sealed FROM site_secret
         WHERE site_id = 'shop' AND name = 'password'",
        "UPDATE site_secret SET sealed = (SELECT sealed FROM site_secret
         WHERE site_id = 'shop' AND name = 'password') WHERE site_id = 'shop' AND name = 'site_key'",
    ] {
        assert_eq!(sqlx::query(statement).execute(&outside).await.unwrap().rows_affected(), 1);
    }
    let other = crate::world::site_id("other");
    let moved = world.catalog.site_secrets(&other).await.unwrap_err();
    assert!(matches!(moved, CatalogError::SealBroken { .. }), "{moved}");
    let renamed = world.catalog.site_keys(&shop()).await.unwrap_err();
    assert_eq!(renamed.code(), "seal-broken");
    assert!(
        world.catalog.site_secrets(&shop()).await.is_ok(),
        "the rest still opens"
    );
}

#[tokio::test]
async fn a_wrong_master_key_is_told_at_once_and_changes_nothing() {
    let world = world_with_secrets().await;
    let data = world.data();
    world.catalog.close().await;
    let wrong = MasterKey::from_text(&SecretString::from("ff".repeat(32))).unwrap();
    let error = Catalog::open(&data, wrong, world.clock.clone())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "master-key-wrong");
    assert!(
        error.to_string().contains(&data.display().to_string()),
        "{error}"
    );
    let catalog = crate::world::open(&data, &world.clock).await.unwrap();
    let secrets = catalog.site_secrets(&shop()).await.unwrap();
    assert_eq!(secrets.password.unwrap().expose_secret(), PASSWORD);
}

#[tokio::test]
async fn the_key_is_read_as_hex_and_as_base64() {
    let world = world_with_secrets().await;
    let data = world.data();
    world.catalog.close().await;
    let base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    for text in [format!("{KEY}\n"), base64.to_owned(), format!("{base64}=")] {
        let key = MasterKey::from_text(&SecretString::from(text)).unwrap();
        Catalog::open(&data, key, world.clock.clone())
            .await
            .unwrap()
            .close()
            .await;
    }
    for bad in ["", "00", &"0".repeat(63), &"g".repeat(64)] {
        let error = MasterKey::from_text(&SecretString::from(bad)).unwrap_err();
        assert_eq!(error.code(), "master-key-unreadable");
    }
    let error = MasterKey::from_text(&SecretString::from("not a key at all")).unwrap_err();
    assert!(!error.to_string().contains("not a key at all"));
}

#[test]
fn the_key_file_is_made_once_and_for_its_owner_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/master.key");
    MasterKey::from_file_or_make(&path).unwrap();
    let first = std::fs::read_to_string(&path).unwrap();
    assert_eq!(first.trim().len(), 64);
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o600
    );
    MasterKey::from_file_or_make(&path).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), first);
    assert_eq!(
        std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
        1
    );

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let error = MasterKey::from_file_or_make(&path).unwrap_err();
    assert_eq!(error.code(), "master-key-exposed");
    assert!(error.to_string().contains("0640"), "{error}");
    assert_eq!(
        error.hint().unwrap(),
        format!("Run: chmod 600 {}", path.display())
    );
}

#[test]
fn a_key_file_that_holds_no_key_is_named_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("master.key");
    for content in [&b""[..], b"something else", &[0xff; 40]] {
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let error = MasterKey::from_file_or_make(&path).unwrap_err();
        assert_eq!(error.code(), "master-key-unreadable");
        assert!(error.to_string().contains("master.key"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), content);
    }
}
