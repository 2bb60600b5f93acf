//! Where a site's savesets go, read: the place, its plain options, its secret ones.

use std::collections::BTreeMap;

use model::{SecretString, StoreKind, VaultLocation};
use serde_json::{Map, Value};

use super::PasswordChange;
use crate::Refusal;
use crate::fields::{Fields, kind};
use crate::quirks::nearest;

/// Reads `vault`. Secrets that only another kind of store has are forgotten.
pub(crate) fn parse(
    fields: &Fields<'_>,
) -> Result<(VaultLocation, BTreeMap<String, PasswordChange>), Refusal> {
    let vault = Fields::of(fields.required("vault")?, "vault", &["url", "options"], &[])?;
    let url = vault.required_text("url")?;
    let Some(store) = StoreKind::of_url(url) else {
        return Err(vault.wrong(
            "url",
            "must begin with file:///, s3://, az:// or gs://, as file:///srv/backups/shop",
        ));
    };
    let place = url.split_once("://").map_or("", |(_, place)| place);
    let plain = match store {
        StoreKind::Local => is_directory(place),
        _ => is_in_a_bucket(place),
    };
    if !plain {
        return Err(vault.wrong("url", must_be(store)));
    }
    let given = match vault.value("options") {
        None => &Map::new(),
        Some(Value::Object(given)) => given,
        Some(other) => {
            return Err(vault.wrong("options", format!("must be an object, not {}", kind(other))));
        }
    };
    let mut options = BTreeMap::new();
    let mut secrets = foreign_secrets(store);
    for (name, value) in given {
        let option = store
            .option(name)
            .ok_or_else(|| unknown(&vault, store, name))?;
        let wrong = |why: String| Refusal::invalid(format!("vault.options.{name}"), why);
        match value {
            Value::String(text) if text.is_empty() => {
                return Err(wrong("must not be empty".into()));
            }
            Value::String(text) if option.secret => {
                let secret = SecretString::from(text.clone());
                secrets.insert(name.clone(), PasswordChange::Set(secret));
            }
            Value::String(text) => {
                options.insert(name.clone(), text.clone());
            }
            Value::Null if option.secret => {
                secrets.insert(name.clone(), PasswordChange::Clear);
            }
            Value::Null => {}
            other => return Err(wrong(format!("must be a text, not {}", kind(other)))),
        }
    }
    let url = url.to_owned();
    Ok((VaultLocation { url, options }, secrets))
}

fn is_directory(path: &str) -> bool {
    path.starts_with('/')
        && path.trim_end_matches('/').len() > 1
        && !path.contains(['?', '#'])
        && path.split('/').all(|part| part != "..")
}

/// A bucket and perhaps a path: no key, no port, nothing that a path may not have.
fn is_in_a_bucket(place: &str) -> bool {
    let (bucket, path) = place.split_once('/').unwrap_or((place, ""));
    let path = path.strip_suffix('/').unwrap_or(path);
    !bucket.is_empty()
        && !place.contains(['?', '#', '@', '\\'])
        && !bucket.contains(':')
        && !place.contains(char::is_whitespace)
        && (path.is_empty() || path.split('/').all(|part| !matches!(part, "" | "." | "..")))
}

fn must_be(store: StoreKind) -> &'static str {
    match store {
        StoreKind::Local => {
            "must be file:// and an absolute path without `..`, `?` and `#`, as file:///srv/backups/shop"
        }
        StoreKind::S3 => {
            "must be a bucket and a path, as s3://backups/shop; keys and a server of your own are options"
        }
        StoreKind::Azure => {
            "must be a container and a path, as az://backups/shop; the account and its key are options"
        }
        StoreKind::Google => {
            "must be a bucket and a path, as gs://backups/shop; the key is an option"
        }
    }
}

fn unknown(vault: &Fields<'_>, store: StoreKind, name: &str) -> Refusal {
    let known: Vec<_> = store.options().iter().map(|option| option.name).collect();
    if known.is_empty() {
        return vault.wrong("options", "must be empty: a file:// vault has no options");
    }
    Refusal::UnknownField {
        field: format!("vault.options.{name}"),
        nearest: nearest(name, &known).map(str::to_owned),
    }
}

fn foreign_secrets(store: StoreKind) -> BTreeMap<String, PasswordChange> {
    let all = [StoreKind::S3, StoreKind::Azure, StoreKind::Google];
    let all = all.into_iter().flat_map(|kind| kind.options());
    all.filter(|option| option.secret && store.option(option.name).is_none())
        .map(|option| (option.name.to_owned(), PasswordChange::Clear))
        .collect()
}
