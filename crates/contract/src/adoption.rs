//! Adopting a site: it comes back from its vault and its recovery key.

use std::collections::BTreeMap;
use std::fmt;

use model::{SecretString, SiteConnection, SiteId, SiteType, VaultLocation};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::Refusal;
use crate::fields::Fields;
use crate::sites::{PasswordChange, Site, SiteConnectionBody, SiteVault, parse_connection, vault};

/// The body of POST `/site-adoptions`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AdoptRequest {
    /// Where the vault is now.
    pub vault: SiteVault,
    /// The key that was shown when the site was made.
    #[schema(write_only, example = "BSRK1-…")]
    pub recovery_key: String,
    /// Take the vault from the server that owns it, which can then only read; false by default.
    #[serde(default)]
    pub take_over: bool,
    /// The site's id here; the one that it had by default.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", example = "shop")]
    pub site_id: Option<String>,
    /// Where its database system is; where it was by default. A vault holds no password: it may be
    /// given alone.
    pub connection: Option<SiteConnectionBody>,
}

/// A site that was adopted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AdoptedSite {
    /// The site.
    #[serde(flatten)]
    pub site: Site,
    /// How many jobs came with it.
    pub jobs: u64,
    /// How many savesets.
    pub savesets: u64,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// What a request wants to adopt.
#[derive(Debug, Clone)]
pub struct AdoptDraft {
    /// Where the vault is.
    pub vault: VaultLocation,
    /// Secret options of its store.
    pub vault_secrets: BTreeMap<String, SecretString>,
    /// Opens it; not looked at yet.
    pub recovery_key: SecretString,
    /// Take it from its owner.
    pub take_over: bool,
    /// `None`: the one that it had.
    pub site_id: Option<SiteId>,
    /// `None`: where it was.
    pub connection: Option<SiteConnection>,
    /// The database user's password.
    pub password: Option<SecretString>,
}

// It holds a secret in plain text, because the wire does; at least no log shows it.
impl fmt::Debug for AdoptRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdoptRequest").finish_non_exhaustive()
    }
}

pub(crate) const KNOWN: &[&str] = &[
    "vault",
    "recovery_key",
    "take_over",
    "site_id",
    "connection",
];

/// Reads it.
///
/// # Errors
/// The first field that cannot be. No error repeats a key, a connection's URL or a password.
pub fn parse_adoption(body: &Value) -> Result<AdoptDraft, Refusal> {
    let fields = Fields::of(body, "", KNOWN, &[])?;
    let (vault, secrets) = vault::parse(&fields)?;
    let site_id = fields.text("site_id")?.map(|text| {
        text.parse()
            .map_err(|fault| fields.wrong("site_id", format!("cannot be: {fault}")))
    });
    let (connection, password) = match fields.value("connection") {
        None => (None, PasswordChange::Keep),
        Some(Value::Object(given)) if given.keys().all(|key| key == "password") => {
            let given = Fields::of(
                fields.required("connection")?,
                "connection",
                &["password"],
                &[],
            )?;
            let password = given.text("password")?.map(str::to_owned);
            let change = password.map_or(PasswordChange::Keep, |text| {
                PasswordChange::Set(text.into())
            });
            (None, change)
        }
        Some(value) => {
            // Which kind of site it was only the vault tells; a path is of one kind alone.
            let site_type = match value.get("path") {
                Some(_) => SiteType::Sqlite,
                None => SiteType::Postgresql,
            };
            let (connection, password) = parse_connection(&fields, site_type)?;
            (Some(connection), password)
        }
    };
    Ok(AdoptDraft {
        vault,
        vault_secrets: secrets
            .into_iter()
            .filter_map(|(name, change)| Some((name, change.given()?)))
            .collect(),
        recovery_key: fields.required_text("recovery_key")?.to_owned().into(),
        take_over: fields.flag("take_over", false)?,
        site_id: site_id.transpose()?,
        connection,
        password: password.given(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body() -> Value {
        json!({"vault": {"url": "file:///srv/backups/shop"}, "recovery_key": "BSRK1-AAAAA"})
    }

    #[test]
    fn what_is_not_given_is_what_the_vault_says() {
        let draft = parse_adoption(&body()).unwrap();
        assert!(draft.site_id.is_none() && draft.connection.is_none() && !draft.take_over);
    }

    #[test]
    fn a_path_means_sqlite_and_a_url_postgresql() {
        let mut body = body();
        body["connection"] = json!({"path": "/srv/data"});
        let draft = parse_adoption(&body).unwrap();
        assert!(matches!(
            draft.connection,
            Some(SiteConnection::Sqlite { .. })
        ));
        body["connection"] = json!({"password": "geheim"});
        let draft = parse_adoption(&body).unwrap();
        assert!(draft.connection.is_none() && draft.password.is_some());
        body["connection"] = json!({"url": "postgres://b:geheim@db/postgres"});
        let draft = parse_adoption(&body).unwrap();
        assert!(matches!(
            draft.connection,
            Some(SiteConnection::Postgresql { .. })
        ));
        assert!(draft.password.is_some());
        assert!(!format!("{draft:?}").contains("geheim"));
    }

    #[test]
    fn a_wrong_field_is_named() {
        let mut wrong = body();
        wrong["site_id"] = json!("no spaces");
        let refused = parse_adoption(&wrong).unwrap_err().to_string();
        assert!(refused.contains("site_id"), "{refused}");
        let mut missing = body();
        missing.as_object_mut().unwrap().remove("recovery_key");
        let refused = parse_adoption(&missing).unwrap_err().to_string();
        assert!(refused.contains("recovery_key"), "{refused}");
        let mut unknown = body();
        unknown["takeover"] = json!(true);
        let refused = parse_adoption(&unknown).unwrap_err().to_string();
        assert!(refused.contains("take_over"), "{refused}");
    }
}
