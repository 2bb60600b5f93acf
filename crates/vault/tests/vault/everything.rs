//! Everything that can be read of a vault, by the product and by the second reader.

use std::collections::BTreeMap;

use model::ExposeSecret;
use object_store::ObjectStore;
use serde_json::Value;
use vault::{RecoveryKey, SavesetState, Vault};

use crate::reader::Reader;
use crate::sample::{drain, objects};

/// What this crate reads, by the names that [`Reader::everything`] gives.
pub async fn read(vault: &Vault) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for (id, state) in vault.saveset_states().await.unwrap() {
        match state {
            SavesetState::Committed => read_saveset(vault, id, &mut all).await,
            SavesetState::Tombstone(tombstone) => {
                let cause = serde_json::to_value(tombstone.cause).unwrap();
                let text = format!("{}: {}", cause.as_str().unwrap(), tombstone.reason);
                all.insert(format!("tombstone {id}"), text.into_bytes());
            }
            SavesetState::Damaged(why) => panic!("{why}"),
        }
    }
    for execution in vault.catalogs().await.unwrap() {
        let content = vault.catalog(execution).await.unwrap();
        all.insert(format!("catalog {execution}"), content);
    }
    all
}

async fn read_saveset(vault: &Vault, id: model::SavesetId, all: &mut BTreeMap<String, Vec<u8>>) {
    let saveset = vault.open_saveset(id).await.unwrap();
    for (place, database) in saveset.databases().iter().enumerate() {
        let of = format!("saveset {id}, database {}", database.name);
        for part in &database.dictionary {
            let mut reader = saveset.blob(place, &part.name).unwrap();
            let content = drain(&mut reader).await.unwrap();
            all.insert(format!("{of}, part {}", part.name), content);
        }
        for (table, listed) in database.tables.iter().enumerate() {
            let sheet = saveset.sheet(place, table).await.unwrap();
            let patches = saveset.patches(&sheet).await.unwrap();
            let mut rows = Vec::new();
            for segment in &sheet.segments {
                let mut reader = saveset.segment_rows(segment, &patches).await.unwrap();
                while let Some(bytes) = reader.next().await.unwrap() {
                    rows.extend_from_slice(&bytes);
                }
            }
            assert_eq!(rows.len() as u64, listed.plain_bytes);
            all.insert(format!("{of}, table {}", listed.plan.name), rows);
        }
    }
}

/// Reads all with both, and answers it: they must agree, on what each manifest says too.
pub async fn read_by_both(
    store: &dyn ObjectStore,
    recovery: &RecoveryKey,
    vault: &Vault,
) -> BTreeMap<String, Vec<u8>> {
    let text = recovery.to_text();
    let reader = Reader::new(objects(store, "").await, text.expose_secret());
    let (ours, theirs) = (read(vault).await, reader.everything());
    let names = |all: &BTreeMap<String, Vec<u8>>| all.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&theirs));
    for (name, content) in &ours {
        assert!(theirs[name] == *content, "{name}");
    }
    for (id, written) in reader.manifests() {
        let id = model::SavesetId::new(id.parse().unwrap()).unwrap();
        let saveset = vault.open_saveset(id).await.unwrap();
        let read = serde_json::to_value(saveset.manifest()).unwrap();
        says_all_of(&written, &read, &format!("manifest {id}"));
    }
    ours
}

/// Whether nothing that was written was lost on reading; a newer reader may know of more members.
fn says_all_of(written: &Value, read: &Value, at: &str) {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => {
            for (member, value) in written {
                let at = format!("{at}.{member}");
                says_all_of(value, read.get(member).unwrap_or(&Value::Null), &at);
            }
        }
        (Value::Array(written), Value::Array(read)) => {
            assert_eq!(written.len(), read.len(), "{at}");
            for (place, (written, read)) in written.iter().zip(read).enumerate() {
                says_all_of(written, read, &format!("{at}[{place}]"));
            }
        }
        _ => assert_eq!(written, read, "{at}"),
    }
}
