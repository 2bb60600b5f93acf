//! Sites: a database system and the vault that its savesets go to.

use std::collections::BTreeMap;
use std::fmt;

use model::{
    CheckReport, FindingLevel, Moment, SecretString, SiteConnection, SiteDefinition, SiteId,
    SiteType, StoreKind, VaultLocation,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::connection_url;
use crate::fields::Fields;
use crate::quirks::SITE_TARGET_TYPE;
use crate::{Refusal, words};

pub(crate) mod vault;

/// Where a site's database system is, as answers show it: never a password.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SiteConnectionBody {
    /// POSTGRESQL: `postgres://user@host:port/database?sslmode=…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "postgres://backup@db:5432/postgres")]
    pub url: Option<String>,
    /// POSTGRESQL: whether a password is kept, sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(read_only)]
    pub has_password: Option<bool>,
    /// SQLITE: the directory of the database files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// POSTGRESQL: the user's password. Accepted and sealed, never answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(write_only)]
    pub password: Option<String>,
}

/// Where a site's savesets go.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SiteVault {
    /// `file:///srv/backups/shop`, `s3://bucket/shop`, `az://container/shop` or `gs://bucket/shop`.
    #[schema(example = "file:///srv/backups/shop")]
    pub url: String,
    /// Settings of the store; a `file://` vault has none.
    ///
    /// S3: `region`, `endpoint`, `path_style`, `access_key_id`, `secret_access_key`,
    /// `session_token`. Azure: `account`, `endpoint` and one of `access_key`, `sas_token`,
    /// `client_secret` with `client_id` and `tenant_id`. Google: `service_account_key` (its JSON),
    /// `endpoint`. Instead of keys, `credentials` = `server` takes the identity of the server's
    /// machine. Keys, tokens and secrets are sealed and never answered: absent in a PUT they are
    /// kept, `null` forgets one.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, Option<String>>)]
    pub options: BTreeMap<String, String>,
}

/// A site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Site {
    /// Chosen when made, never changed.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    pub site_id: SiteId,
    /// Never changed.
    #[schema(schema_with = words::site_type)]
    pub site_type: SiteType,
    /// For people.
    pub description: Option<String>,
    /// Where its database system is.
    pub connection: SiteConnectionBody,
    /// Where its savesets go.
    pub vault: SiteVault,
    /// Where the vault is.
    #[serde(rename = "siteTargetType")]
    #[schema(schema_with = words::site_target_type)]
    pub site_target_type: String,
    /// Streams of one job.
    pub soft_limit: u32,
    /// Streams of all jobs together.
    pub hard_limit: u32,
    /// A snapshot that becomes older ends its run; 0: none does.
    pub max_snapshot_minutes: u32,
    /// When it was made.
    #[schema(schema_with = words::moment)]
    pub created_at: Moment,
}

impl Site {
    /// As answers show it.
    pub fn of(definition: &SiteDefinition, has_password: bool, created_at: Moment) -> Self {
        let connection = match &definition.connection {
            SiteConnection::Postgresql { url } => SiteConnectionBody {
                url: Some(url.clone()),
                has_password: Some(has_password),
                ..SiteConnectionBody::default()
            },
            SiteConnection::Sqlite { path } => SiteConnectionBody {
                path: Some(path.clone()),
                ..SiteConnectionBody::default()
            },
        };
        Site {
            site_id: definition.site_id.clone(),
            site_type: definition.site_type,
            description: definition.description.clone(),
            connection,
            vault: SiteVault {
                url: definition.vault.url.clone(),
                options: definition.vault.options.clone(),
            },
            site_target_type: site_target_type(&definition.vault).to_owned(),
            soft_limit: definition.soft_limit,
            hard_limit: definition.hard_limit,
            max_snapshot_minutes: definition.max_snapshot_minutes,
            created_at,
        }
    }
}

/// The answer to a new site: the only one that holds its recovery key unasked.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedSite {
    /// The site.
    #[serde(flatten)]
    pub site: Site,
    /// Opens the vault without this server: keep it where the vault is not.
    pub recovery_key: String,
}

/// The recovery key of a site.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecoveryKeyAnswer {
    /// Opens the vault without this server: keep it where the vault is not.
    pub recovery_key: String,
}

// These hold secrets in plain text, because the wire does; at least no log shows them.

impl fmt::Debug for SiteConnectionBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A client may have put the password into the URL.
        f.debug_struct("SiteConnectionBody")
            .field("has_password", &self.has_password)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SiteVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A client's options may hold keys.
        f.debug_struct("SiteVault").finish_non_exhaustive()
    }
}

impl fmt::Debug for CreatedSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedSite")
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RecoveryKeyAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecoveryKeyAnswer").finish_non_exhaustive()
    }
}

/// A site as a client writes it; POST and PUT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SiteRequest {
    /// Needed in a POST; in a PUT the path's, if given.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", example = "shop")]
    pub site_id: Option<String>,
    /// Needed in a POST; never changed by a PUT.
    #[schema(schema_with = words::site_type)]
    pub site_type: Option<SiteType>,
    /// For people.
    pub description: Option<String>,
    /// Where its database system is.
    pub connection: SiteConnectionBody,
    /// Where its savesets go.
    pub vault: SiteVault,
    /// Streams of one job; 2 by default.
    #[schema(nullable = false, minimum = 1, maximum = 1000)]
    pub soft_limit: Option<u32>,
    /// Streams of all jobs together; 4 by default, `soft_limit` or more.
    #[schema(nullable = false, minimum = 1, maximum = 1000)]
    pub hard_limit: Option<u32>,
    /// A snapshot that becomes older ends its run; 0 by default: none does.
    #[schema(nullable = false)]
    pub max_snapshot_minutes: Option<u32>,
}

/// What a request does to a secret of a site: its password, or one of its store.
#[derive(Debug, Clone)]
pub enum PasswordChange {
    /// Absent: it is kept.
    Keep,
    /// `null`: it is forgotten.
    Clear,
    /// A new one.
    Set(SecretString),
}

impl PasswordChange {
    /// What something new begins with: there is nothing to keep yet.
    pub fn given(self) -> Option<SecretString> {
        match self {
            PasswordChange::Set(secret) => Some(secret),
            PasswordChange::Keep | PasswordChange::Clear => None,
        }
    }
}

/// A site as a request wants it.
#[derive(Debug, Clone)]
pub struct SiteDraft {
    /// Without its secrets.
    pub definition: SiteDefinition,
    /// Its secret.
    pub password: PasswordChange,
    /// Secret options of its store by name; those not named are kept.
    pub vault_secrets: BTreeMap<String, PasswordChange>,
}

pub(crate) const KNOWN: &[&str] = &[
    "site_id",
    "site_type",
    "description",
    "connection",
    "vault",
    "soft_limit",
    "hard_limit",
    "max_snapshot_minutes",
];
pub(crate) const READ_ONLY: &[&str] = &[SITE_TARGET_TYPE, "created_at"];
/// More streams than this no server bears.
const MOST_STREAMS: u32 = 1000;

/// Reads the body of POST `/sites`.
///
/// # Errors
/// The first field that cannot be. No error repeats a connection's URL or a password.
pub fn parse_site(body: &Value) -> Result<SiteDraft, Refusal> {
    let fields = Fields::of(body, "", KNOWN, &[])?;
    let text = fields.required_text("site_id")?;
    let site_id = text
        .parse()
        .map_err(|fault| fields.wrong("site_id", format!("cannot be: {fault}")))?;
    fields.required("site_type")?;
    let site_type = fields.word("site_type", &words::all::<SiteType>())?;
    parse_rest(&fields, site_id, site_type.unwrap_or(SiteType::Postgresql))
}

/// Reads the body of PUT `/sites/{site_id}`: what a GET gave is taken back.
///
/// # Errors
/// The first field that cannot be; also a `site_id` or `site_type` that is not the site's.
pub fn replace_site(body: &Value, current: &SiteDefinition) -> Result<SiteDraft, Refusal> {
    let fields = Fields::of(body, "", KNOWN, READ_ONLY)?;
    if fields
        .text("site_id")?
        .is_some_and(|id| id != current.site_id.as_str())
    {
        let why = format!("must be {}: a site's id never changes", current.site_id);
        return Err(fields.wrong("site_id", why));
    }
    let site_type = fields.word("site_type", &words::all::<SiteType>())?;
    if site_type.is_some_and(|t: SiteType| t != current.site_type) {
        let why = format!("must be {}: a site's type never changes", current.site_type);
        return Err(fields.wrong("site_type", why));
    }
    parse_rest(&fields, current.site_id.clone(), current.site_type)
}

fn parse_rest(
    fields: &Fields<'_>,
    site_id: SiteId,
    site_type: SiteType,
) -> Result<SiteDraft, Refusal> {
    let (connection, password) = parse_connection(fields, site_type)?;
    let (vault, vault_secrets) = vault::parse(fields)?;
    let soft_limit = fields.number("soft_limit", 2, 1..=MOST_STREAMS)?;
    let hard_limit = fields.number("hard_limit", 4, 1..=MOST_STREAMS)?;
    if hard_limit < soft_limit {
        let why = format!("must be soft_limit ({soft_limit}) or more, not {hard_limit}");
        return Err(fields.wrong("hard_limit", why));
    }
    Ok(SiteDraft {
        definition: SiteDefinition {
            site_id,
            site_type,
            description: fields.text("description")?.map(str::to_owned),
            connection,
            vault,
            soft_limit,
            hard_limit,
            max_snapshot_minutes: fields.number("max_snapshot_minutes", 0, 0..=u32::MAX)?,
        },
        password,
        vault_secrets,
    })
}

pub(crate) fn parse_connection(
    fields: &Fields<'_>,
    site_type: SiteType,
) -> Result<(SiteConnection, PasswordChange), Refusal> {
    let value = fields.required("connection")?;
    match site_type {
        SiteType::Sqlite => {
            let connection = Fields::of(value, "connection", &["path"], &[])?;
            let path = connection.required_text("path")?;
            if !path.starts_with('/') {
                return Err(connection.wrong("path", "must be an absolute path, as /srv/data"));
            }
            let path = path.to_owned();
            Ok((SiteConnection::Sqlite { path }, PasswordChange::Keep))
        }
        SiteType::Postgresql => {
            let connection =
                Fields::of(value, "connection", &["url", "password"], &["has_password"])?;
            let split = connection_url::split(connection.required_text("url")?)
                .map_err(|why| connection.wrong("url", why))?;
            let given = connection.text("password")?.map(str::to_owned);
            let password = match (given, split.password) {
                (Some(_), Some(_)) => {
                    return Err(connection.wrong(
                        "password",
                        "is given here and inside `connection.url`; give it once",
                    ));
                }
                (Some(text), None) => PasswordChange::Set(SecretString::from(text)),
                (None, Some(secret)) => PasswordChange::Set(secret),
                (None, None) if connection.given("password").is_some() => PasswordChange::Clear,
                (None, None) => PasswordChange::Keep,
            };
            Ok((SiteConnection::Postgresql { url: split.url }, password))
        }
    }
}

/// `siteTargetType`: where a vault is.
pub fn site_target_type(vault: &VaultLocation) -> &'static str {
    match StoreKind::of_url(&vault.url) {
        Some(StoreKind::S3) => "AWS",
        Some(StoreKind::Azure) => "AZURE",
        Some(StoreKind::Google) => "GCP",
        Some(StoreKind::Local) | None => "LOCAL",
    }
}

/// One thing that a check looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckedThing {
    /// OK, WARNING or ERROR.
    pub level: String,
    /// What was looked at.
    pub what: String,
    /// What was found, as a sentence.
    pub detail: String,
    /// The SQL or the setting that mends it.
    pub remedy: Option<String>,
}

/// What a check of a site found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SiteCheck {
    /// Whether a backup would work.
    pub ok: bool,
    /// The server, as it names itself.
    pub version: Option<String>,
    /// Everything looked at.
    pub findings: Vec<CheckedThing>,
}

impl SiteCheck {
    /// As the answer shows it.
    pub fn of(report: &CheckReport) -> Self {
        SiteCheck {
            ok: report
                .findings
                .iter()
                .all(|f| f.level < FindingLevel::Error),
            version: report.version.clone(),
            findings: report
                .findings
                .iter()
                .map(|finding| CheckedThing {
                    level: finding.level.to_string(),
                    what: finding.what.clone(),
                    detail: finding.detail.clone(),
                    remedy: finding.remedy.clone(),
                })
                .collect(),
        }
    }
}
