//! What is in a vault, and in a saveset.

use serde_json::{Value, json};
use vault::{Saveset, SavesetState, Vault, VaultError};

use super::sentence;
use crate::output::{self, text};

/// All savesets, the newest first; one that cannot be read is listed with the reason.
pub(super) async fn savesets(vault: &Vault) -> Result<Value, VaultError> {
    let mut listed = Vec::new();
    for (id, state) in vault.saveset_states().await?.into_iter().rev() {
        let row = match state {
            SavesetState::Tombstone(_) => continue,
            SavesetState::Damaged(why) => damaged(&id.to_string(), &why),
            SavesetState::Committed => match vault.open_saveset(id).await {
                Ok(saveset) => one(&saveset),
                Err(error) => damaged(&id.to_string(), &sentence(&error)),
            },
        };
        listed.push(row);
    }
    Ok(Value::Array(listed))
}

fn damaged(id: &str, why: &str) -> Value {
    json!({ "saveset_id": id, "databases": format!("cannot be read: {why}") })
}

fn one(saveset: &Saveset) -> Value {
    let contents = &saveset.manifest().contents;
    let databases = contents.databases.iter();
    let databases: Vec<&str> = databases.map(|database| database.name.last()).collect();
    let rows = contents.tables().map(|table| table.plain_bytes);
    json!({
        "saveset_id": saveset.id().to_string(),
        "site_id": contents.site_id.to_string(),
        "job_name": contents.job_name,
        "run_type": contents.run_type.to_string(),
        "start_time": contents.start.to_string(),
        "backup_set_size": rows.sum::<u64>(),
        "databases": databases.join(", "),
    })
}

pub(super) fn saveset_table(savesets: &Value) -> String {
    output::table(
        savesets,
        "There is no saveset in this vault.",
        &[
            ("SAVESET", &|s| text(s, "saveset_id")),
            ("SITE", &|s| text(s, "site_id")),
            ("JOB", &|s| text(s, "job_name")),
            ("RUN", &|s| text(s, "run_type")),
            ("START", &|s| output::time(s, "start_time")),
            ("SIZE", &|s| output::bytes(s, "backup_set_size")),
            ("DATABASES", &|s| text(s, "databases")),
        ],
    )
}

/// All objects of a saveset, with the rows and bytes of those that have some.
pub(super) fn objects(saveset: &Saveset) -> Value {
    let databases = saveset.databases().iter();
    let all = databases.flat_map(|saved| saved.objects.iter().map(move |object| (saved, object)));
    let listed = all.map(|(saved, object)| {
        let table = object.table.and_then(|place| saved.tables.get(place));
        json!({
            "object_name": object.name.to_string(),
            "object_type": object.object_type.to_string(),
            "parent_name": object.parent_name.to_string(),
            "rows": table.map(|table| table.rows),
            "byte_count": table.map(|table| table.plain_bytes),
        })
    });
    Value::Array(listed.collect())
}

pub(super) fn object_table(objects: &Value) -> String {
    output::table(
        objects,
        "There is no object in this saveset.",
        &[
            ("TYPE", &|o| text(o, "object_type")),
            ("NAME", &|o| text(o, "object_name")),
            ("IN", &|o| text(o, "parent_name")),
            ("ROWS", &|o| text(o, "rows")),
            ("SIZE", &|o| output::bytes(o, "byte_count")),
        ],
    )
}
