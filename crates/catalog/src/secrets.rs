//! The sealed secrets of sites.

use std::collections::BTreeMap;

use model::{ExposeSecret, SecretString, SiteId, SiteSecrets};

use crate::database::Connection;
use crate::sealing::Place;
use crate::{Catalog, CatalogError};

const PASSWORD: &str = "password";
const SITE_KEY: &str = "site_key";
const RECOVERY_KEY: &str = "recovery_key";
const VAULT_OPTION: &str = "vault_option:";

/// The keys of a site's vault, as text. Made once; they never change while the site lives.
#[derive(Debug, Clone)]
pub struct SiteKeys {
    /// Opens the vault for the server. `None`: the site was adopted, and its vault is opened with
    /// the recovery key; the site key stayed with the server that made the vault.
    pub site_key: Option<SecretString>,
    /// Opens the vault without the server.
    pub recovery_key: SecretString,
}

/// What becomes of one secret.
#[derive(Debug, Clone, Default)]
pub enum SecretChange {
    /// It stays as it is: a request that leaves a secret out does not remove it.
    #[default]
    Keep,
    /// It is removed.
    Remove,
    /// It is set or replaced.
    Set(SecretString),
}

/// What becomes of a site's secrets. The default keeps all.
#[derive(Debug, Clone, Default)]
pub struct SecretsChange {
    /// The database user's password.
    pub password: SecretChange,
    /// Secret settings of the store by name; those not named stay.
    pub vault_options: BTreeMap<String, SecretChange>,
}

impl Catalog {
    /// The secrets that a site's connections need.
    ///
    /// # Errors
    /// [`CatalogError::NoSite`], [`CatalogError::SealBroken`].
    pub async fn site_secrets(&self, site: &SiteId) -> Result<SiteSecrets, CatalogError> {
        self.site(site).await?;
        let sealed: Vec<(String, String)> =
            sqlx::query_as("SELECT name, sealed FROM site_secret WHERE site_id = $1")
                .bind(site.as_str())
                .fetch_all(self.database().read())
                .await?;
        let mut secrets = SiteSecrets::default();
        for (name, sealed) in sealed {
            if name == PASSWORD {
                secrets.password = Some(self.sealer().open(place(site, &name), &sealed)?);
            } else if let Some(option) = name.strip_prefix(VAULT_OPTION) {
                let secret = self.sealer().open(place(site, &name), &sealed)?;
                secrets.vault_options.insert(option.to_owned(), secret);
            }
        }
        Ok(secrets)
    }

    /// The keys of a site's vault.
    ///
    /// # Errors
    /// [`CatalogError::NoSite`], [`CatalogError::SealBroken`].
    pub async fn site_keys(&self, site: &SiteId) -> Result<SiteKeys, CatalogError> {
        self.site(site).await?;
        Ok(SiteKeys {
            site_key: self.site_secret(site, SITE_KEY).await?,
            recovery_key: self
                .site_secret(site, RECOVERY_KEY)
                .await?
                .ok_or_else(|| CatalogError::Damaged(format!("site {site} has no recovery key")))?,
        })
    }

    async fn site_secret(
        &self,
        site: &SiteId,
        name: &str,
    ) -> Result<Option<SecretString>, CatalogError> {
        let sealed: Option<String> =
            sqlx::query_scalar("SELECT sealed FROM site_secret WHERE site_id = $1 AND name = $2")
                .bind(site.as_str())
                .bind(name)
                .fetch_optional(self.database().read())
                .await?;
        sealed
            .map(|sealed| self.sealer().open(place(site, name), &sealed))
            .transpose()
    }

    /// Seals what a new site brings.
    pub(crate) async fn put_first_secrets(
        &self,
        tx: &mut Connection,
        site: &SiteId,
        secrets: &SiteSecrets,
        keys: &SiteKeys,
    ) -> Result<(), CatalogError> {
        if let Some(site_key) = &keys.site_key {
            self.put_secret(tx, site, SITE_KEY, site_key).await?;
        }
        self.put_secret(tx, site, RECOVERY_KEY, &keys.recovery_key)
            .await?;
        if let Some(password) = &secrets.password {
            self.put_secret(tx, site, PASSWORD, password).await?;
        }
        for (option, secret) in &secrets.vault_options {
            self.put_secret(tx, site, &format!("{VAULT_OPTION}{option}"), secret)
                .await?;
        }
        Ok(())
    }

    /// Carries a change out.
    pub(crate) async fn change_secrets(
        &self,
        tx: &mut Connection,
        site: &SiteId,
        change: &SecretsChange,
    ) -> Result<(), CatalogError> {
        self.change_secret(tx, site, PASSWORD, &change.password)
            .await?;
        for (option, change) in &change.vault_options {
            self.change_secret(tx, site, &format!("{VAULT_OPTION}{option}"), change)
                .await?;
        }
        Ok(())
    }

    async fn change_secret(
        &self,
        tx: &mut Connection,
        site: &SiteId,
        name: &str,
        change: &SecretChange,
    ) -> Result<(), CatalogError> {
        match change {
            SecretChange::Keep => Ok(()),
            SecretChange::Set(secret) => self.put_secret(tx, site, name, secret).await,
            SecretChange::Remove => {
                sqlx::query("DELETE FROM site_secret WHERE site_id = $1 AND name = $2")
                    .bind(site.as_str())
                    .bind(name)
                    .execute(tx)
                    .await?;
                Ok(())
            }
        }
    }

    async fn put_secret(
        &self,
        tx: &mut Connection,
        site: &SiteId,
        name: &str,
        secret: &SecretString,
    ) -> Result<(), CatalogError> {
        let sealed = self
            .sealer()
            .seal(place(site, name), secret.expose_secret())?;
        sqlx::query(
            "INSERT INTO site_secret (site_id, name, sealed) VALUES ($1, $2, $3)
             ON CONFLICT (site_id, name) DO UPDATE SET sealed = excluded.sealed",
        )
        .bind(site.as_str())
        .bind(name)
        .bind(sealed)
        .execute(tx)
        .await?;
        Ok(())
    }
}

fn place<'a>(site: &'a SiteId, name: &'a str) -> Place<'a> {
    Place {
        table: "site_secret",
        owner: site.as_str(),
        name,
    }
}
