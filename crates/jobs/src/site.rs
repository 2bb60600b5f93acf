//! Making, changing and checking sites.

use catalog::{SecretChange, SecretsChange, SiteKeys, SiteRecord};
use fail::fail_point;
use model::{
    CheckFinding, CheckReport, FindingLevel, SecretString, SiteDefinition, SiteId, SiteSecrets,
    StoreKind,
};
use vault::{RecoveryKey, SiteKey, Vault, VaultError};

use crate::connect::open_store;
use crate::{Jobs, JobsError};

/// A site that was just made.
pub struct NewSite {
    /// As the catalog has it now.
    pub site: SiteRecord,
    /// Opens the site's vault without this server. Shown once.
    pub recovery_key: SecretString,
}

impl Jobs {
    /// Makes a site and its vault.
    ///
    /// The catalog's row comes first: it holds the keys, and a vault whose keys nobody has is
    /// worth nothing. If the vault cannot be made, the row is taken back.
    ///
    /// # Errors
    /// When the id is taken, the vault cannot be reached, or belongs to another site.
    pub async fn make_site(
        &self,
        definition: SiteDefinition,
        secrets: SiteSecrets,
    ) -> Result<NewSite, JobsError> {
        self.inner.registry.engine(definition.site_type)?;
        let site_key = SiteKey::generate()?;
        let recovery_key = RecoveryKey::generate()?;
        let keys = SiteKeys {
            site_key: Some(site_key.to_text()),
            recovery_key: recovery_key.to_text(),
        };
        let site = self
            .inner
            .catalog
            .create_site(&definition, &secrets, &keys)
            .await?;
        fail_point!("jobs::a-site-is-written-down");
        let made = match open_store(&definition.vault, &secrets) {
            Ok(store) => Vault::create(store, &site_key, &recovery_key, &self.inner.owner()?).await,
            Err(error) => Err(error),
        };
        match made {
            Ok(_) => Ok(NewSite {
                site,
                recovery_key: keys.recovery_key,
            }),
            Err(error) => {
                self.inner.catalog.delete_site(&definition.site_id).await?;
                Err(match error {
                    VaultError::AlreadyThere { .. } => JobsError::VaultTaken {
                        url: definition.vault.url,
                    },
                    other => other.into(),
                })
            }
        }
    }

    /// Changes a site. `expected` is the version that the caller has seen.
    ///
    /// # Errors
    /// What the catalog says; another vault is refused while the site has savesets in this one.
    pub async fn update_site(
        &self,
        definition: &SiteDefinition,
        secrets: &SecretsChange,
        expected: Option<i64>,
    ) -> Result<SiteRecord, JobsError> {
        let before = self.inner.catalog.site(&definition.site_id).await?;
        self.location_can_be(definition, secrets).await?;
        let moved = before.definition.vault.url != definition.vault.url;
        if moved && self.inner.catalog.has_savesets(&definition.site_id).await? {
            return Err(JobsError::NotBuiltYet(
                "moving a site that has savesets to another vault",
            ));
        }
        Ok(self
            .inner
            .catalog
            .update_site(definition, secrets, expected)
            .await?)
    }

    /// Refuses settings of a store that cannot be before they replace those that worked. A local
    /// directory has none.
    async fn location_can_be(
        &self,
        definition: &SiteDefinition,
        change: &SecretsChange,
    ) -> Result<(), JobsError> {
        let location = &definition.vault;
        if StoreKind::of_url(&location.url) == Some(StoreKind::Local) {
            return Ok(());
        }
        let mut secrets = self.inner.catalog.site_secrets(&definition.site_id).await?;
        for (name, change) in &change.vault_options {
            match change {
                SecretChange::Keep => {}
                SecretChange::Remove => {
                    secrets.vault_options.remove(name);
                }
                SecretChange::Set(secret) => {
                    secrets.vault_options.insert(name.clone(), secret.clone());
                }
            }
        }
        open_store(location, &secrets)?;
        Ok(())
    }

    /// The site's recovery key again, for an administrator.
    ///
    /// # Errors
    /// When there is no such site, or its keys cannot be unsealed.
    pub async fn recovery_key(&self, site: &SiteId) -> Result<SecretString, JobsError> {
        Ok(self.inner.catalog.site_keys(site).await?.recovery_key)
    }

    /// What a backup of the site would find: the connection, the rights, the vault.
    ///
    /// # Errors
    /// When there is no such site. What is wrong with the site itself is a finding.
    pub async fn check_site(&self, site: &SiteId) -> Result<CheckReport, JobsError> {
        let site = self.inner.catalog.site(site).await?;
        let engine = self.inner.registry.engine(site.definition.site_type)?;
        let connection = self.inner.connection(&site).await?;
        let streams = usize::try_from(site.definition.hard_limit).unwrap_or(usize::MAX);
        let mut report = engine.check(&connection, streams).await?;
        report.findings.push(self.inner.check_vault(&site).await);
        Ok(report)
    }
}

impl crate::Inner {
    async fn check_vault(&self, site: &SiteRecord) -> CheckFinding {
        let url = &site.definition.vault.url;
        let probed = match self.vault(site).await {
            Ok(vault) => vault.probe().await.map_err(JobsError::from),
            Err(error) => Err(error),
        };
        match probed {
            Ok(()) => CheckFinding {
                level: FindingLevel::Ok,
                what: "vault".to_owned(),
                detail: format!("{url} can be written, read and listed, and does not overwrite"),
                remedy: None,
            },
            Err(error) => CheckFinding {
                level: FindingLevel::Error,
                what: "vault".to_owned(),
                detail: (&error as &dyn model::Fault).sentence(),
                remedy: model::Fault::hint(&error),
            },
        }
    }
}
