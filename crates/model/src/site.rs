//! What a site is made of, as a user defines it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{SecretString, SiteId, SiteType};

/// Where a site's database system is, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SiteConnection {
    /// A server. The URL never holds a password.
    Postgresql {
        /// `postgres://user@host:port/database?sslmode=…`.
        url: String,
    },
    /// A directory of SQLite files.
    Sqlite {
        /// The directory, absolute.
        path: String,
    },
}

/// Where a site's savesets go, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultLocation {
    /// `file:///srv/backups/shop`.
    pub url: String,
    /// Settings of the store.
    pub options: BTreeMap<String, String>,
}

/// A site as its user defines it; valid, defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteDefinition {
    /// Chosen when made, never changed.
    pub site_id: SiteId,
    /// Never changed.
    pub site_type: SiteType,
    /// For people.
    pub description: Option<String>,
    /// Where its database system is.
    pub connection: SiteConnection,
    /// Where its savesets go.
    pub vault: VaultLocation,
    /// Streams of one job; 1 or more.
    pub soft_limit: u32,
    /// Streams of all jobs together; `soft_limit` or more.
    pub hard_limit: u32,
    /// A snapshot that becomes older ends its run; 0: none does.
    pub max_snapshot_minutes: u32,
}

/// The secrets of a site: sealed in the catalog, never in an answer, an error or a log.
#[derive(Debug, Clone, Default)]
pub struct SiteSecrets {
    /// The database user's password.
    pub password: Option<SecretString>,
    /// Settings of the store that are secret.
    pub vault_options: BTreeMap<String, SecretString>,
}
