//! Members of the vault's JSON: unknown ones are passed over, some may be absent, all others must be there.

use std::sync::Arc;

use model::ExposeSecret;
use object_store::ObjectStore;
use serde_json::{Value, json};
use vault::{FrameCutter, SheetRef, Vault, VaultError, runs};

use crate::golden_writer;
use crate::reader::Reader;
use crate::sample::{self, Keys, content, execution, memory, objects, put, saveset_id};

/// The page lists these in section 11.
const MAY_BE_ABSENT: [&str; 13] = [
    "blocks.end",
    "narrowed",
    "sheet",
    "base",
    "objects[].table",
    "tables[].end",
    "bytes_read",
    "changed_blocks",
    "changed_blocks.why",
    "everywhere",
    "only[].exclude",
    "facts",
    "scope",
];

/// Of these only the engine says what may be in them; of a scope there is one form or the other.
const OPAQUE: [&str; 2] = ["facts", "scope"];

/// A path without numbers: `databases[].tables[].plan`.
fn may_be_absent(path: &str) -> bool {
    let suffixes = MAY_BE_ABSENT.map(|end| format!(".{end}"));
    let dotted = format!(".{path}");
    suffixes.iter().any(|end| dotted.ends_with(end))
}

/// Every member below a value, by its JSON pointer and its path.
fn members(value: &Value, pointer: &str, path: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let pointer = format!("{pointer}/{name}");
                let path = format!("{path}.{name}").trim_start_matches('.').to_owned();
                found.push((pointer.clone(), path.clone()));
                if name != "facts" {
                    members(value, &pointer, &path, found);
                }
            }
        }
        Value::Array(list) => {
            for (place, value) in list.iter().enumerate() {
                let pointer = format!("{pointer}/{place}");
                members(value, &pointer, &format!("{path}[]"), found);
            }
        }
        _ => {}
    }
}

fn all_members(value: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    members(value, "", "", &mut found);
    found
}

/// Without that member.
fn without(value: &Value, pointer: &str) -> Value {
    let mut value = value.clone();
    let (object, name) = pointer.rsplit_once('/').unwrap();
    let object = value.pointer_mut(object).unwrap().as_object_mut().unwrap();
    object.remove(name).unwrap();
    value
}

/// With that member as no member is.
fn spoilt(value: &Value, pointer: &str) -> Value {
    let mut value = value.clone();
    *value.pointer_mut(pointer).unwrap() = json!(true);
    value
}

/// With more members in every object.
fn with_more(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let grown = object.iter().map(|(name, value)| {
                let opaque = OPAQUE.contains(&&**name);
                let value = if opaque {
                    value.clone()
                } else {
                    with_more(value)
                };
                (name.clone(), value)
            });
            let more = ("later".to_owned(), json!({"release": [1, {"knows": null}]}));
            Value::Object(grown.chain([more]).collect())
        }
        Value::Array(list) => list.iter().map(with_more).collect(),
        other => other.clone(),
    }
}

/// With none of the members that may be absent, where they say nothing.
fn least(value: &Value) -> Value {
    let mut value = value.clone();
    for (pointer, path) in all_members(&value).into_iter().rev() {
        let says_nothing = matches!(
            value.pointer(&pointer),
            Some(Value::Null | Value::Bool(false))
        );
        if may_be_absent(&path) && says_nothing {
            value = without(&value, &pointer);
        }
    }
    value
}

async fn made() -> (Arc<dyn ObjectStore>, Keys, Vault) {
    let (store, keys) = (memory(), Keys::new());
    let vault = keys.create(store.clone()).await;
    sample::write(&vault, 1, 1).await.unwrap();
    (store, keys, vault)
}

#[tokio::test]
async fn must_24_a_manifest_may_have_more_members_and_lacks_only_those_that_may_be_absent() {
    let (store, keys, vault) = made().await;
    let text = keys.recovery.to_text();
    let reader = Reader::new(objects(&*store, "").await, text.expose_secret());
    let mut manifest = reader.json("manifests/1", 1);
    let read = async |manifest: &Value| {
        let content = serde_json::to_vec(manifest).unwrap();
        let sealed = reader.sealed_again("manifests/1", &content);
        put(&*store, "manifests/1", sealed.into()).await;
        let found = sample::read(&vault, saveset_id(1)).await?;
        assert_eq!(found, sample::content(1));
        Ok::<_, VaultError>(())
    };
    let least = least(&manifest);
    assert_ne!(least, manifest);
    read(&least).await.unwrap();
    // Something of everything.
    manifest["contents"]["skipped"] = json!([{"object": "a", "reason": "b"}]);
    manifest["contents"]["bytes_read"] = 7.into();
    let database = &mut manifest["contents"]["databases"][0];
    database["tables"][0]["end"] = 104.into();
    database["changed_blocks"] = json!({"source": "HASH", "why": "a test"});
    let table = json!({"name": "a", "object_type": "TABLE", "everywhere": true});
    database["selection"]["scope"] = json!({"whole": {"exclude": [table]}});
    read(&manifest).await.unwrap();
    read(&with_more(&manifest)).await.unwrap();
    let mut must = 0;
    for (pointer, path) in all_members(&manifest) {
        if may_be_absent(&path) {
            let scope = path.ends_with("scope");
            let facts = path.ends_with("facts");
            // Without its sheet a table has no rows: that is another content.
            if !scope && !facts && !path.ends_with("sheet") {
                read(&without(&manifest, &pointer)).await.unwrap();
            }
            continue;
        }
        must += 1;
        for manifest in [without(&manifest, &pointer), spoilt(&manifest, &pointer)] {
            let error = read(&manifest).await.err();
            let error = error.unwrap_or_else(|| panic!("{path}"));
            assert!(error.to_string().contains("manifests/1"), "{path}: {error}");
        }
    }
    assert!(must > 50, "{must}");
}

#[tokio::test]
async fn must_24_a_sheet_may_have_more_members_and_lacks_only_those_that_may_be_absent() {
    let (store, keys, vault) = made().await;
    let base = vault.open_saveset(saveset_id(1)).await.unwrap();
    let sheet = base.sheet(0, 0).await.unwrap();
    let number = std::cell::Cell::new(1);
    let read = async |sheet: &Value| {
        number.set(number.get() + 1);
        let run = execution(number.get(), 1);
        let writer = vault.begin(run, Some(base.id())).await?;
        let mut packs = writer.pack_writer()?;
        let mut never = |_| panic!("it fills no pack");
        let mut cutter = FrameCutter::new(&mut packs, &mut never);
        cutter.push(&serde_json::to_vec(sheet).unwrap())?;
        let written = cutter.finish()?;
        writer.put_pack(packs.take()?.unwrap()).await?;
        let mut draft = base.manifest().contents.clone();
        draft.execution = run;
        let table = &mut draft.databases[0].tables[0];
        let before = table.sheet.take().unwrap();
        table.sheet = Some(SheetRef {
            runs: runs(&written.places),
            bytes: written.bytes,
            hash: written.hash,
            ..before
        });
        let id = writer.commit(draft).await?.id();
        assert_eq!(sample::read(&vault, id).await?, content(1));
        Ok::<_, VaultError>(())
    };
    let sheet = serde_json::to_value(&sheet).unwrap();
    read(&sheet).await.unwrap();
    read(&least(&sheet)).await.unwrap();
    assert_ne!(least(&sheet), sheet);
    read(&with_more(&sheet)).await.unwrap();
    let mut must = 0;
    for (pointer, path) in all_members(&sheet) {
        if may_be_absent(&path) {
            // The first segment's end is no null: without it the next one overlaps.
            continue;
        }
        must += 1;
        for sheet in [without(&sheet, &pointer), spoilt(&sheet, &pointer)] {
            let error = read(&sheet).await.err();
            let error = error.unwrap_or_else(|| panic!("{path}"));
            assert!(
                error.to_string().contains("the sheet of"),
                "{path}: {error}"
            );
        }
    }
    assert!(must >= 14, "{must}");
    drop((store, keys));
}

#[tokio::test]
async fn must_13_a_newer_manifest_tombstone_or_list_of_moved_frames_is_refused_by_its_name() {
    let (store, keys) = (memory(), Keys::new());
    golden_writer::write(store.clone(), &keys).await;
    let all = objects(&*store, "").await;
    let text = keys.recovery.to_text();
    let reader = Reader::new(all.clone(), text.expose_secret());
    let moves = all.keys().rfind(|path| path.starts_with("moves/")).unwrap();
    for (path, kind, saveset) in [
        ("manifests/7", 1, 7),
        ("manifests/1", 2, 1),
        (moves.as_str(), 5, 7),
    ] {
        let mut newer = reader.json(path, kind);
        newer["format"] = 2.into();
        // Whatever else a newer release writes there.
        for other in ["contents", "cause", "moved"] {
            if !newer[other].is_null() {
                newer[other] = json!({"new": "form"});
            }
        }
        let content = serde_json::to_vec(&newer).unwrap();
        let sealed = reader.sealed_again(path, &content);
        put(&*store, path, sealed.into()).await;
        let vault = keys.open(store.clone()).await.unwrap();
        let read = async {
            let saveset = vault.open_saveset(saveset_id(saveset)).await?;
            for table in 0..saveset.databases()[0].tables.len() {
                for segment in saveset.sheet(0, table).await?.segments {
                    sample::drain(&mut saveset.rows(&segment)).await?;
                }
            }
            Ok(())
        };
        match read.await.unwrap_err() {
            VaultError::NewerFormat {
                path: named, found, ..
            } => {
                assert_eq!((named.as_str(), found), (path, 2));
            }
            error => panic!("{path}: {error}"),
        }
        put(&*store, path, all[path].clone()).await;
    }
}
