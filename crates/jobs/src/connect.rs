//! From a site's record to what can be worked with: its connection, its vault, its streams.

use std::sync::Arc;

use catalog::SiteRecord;
use model::{
    Connection, ExposeSecret, SecretString, SiteConnection, SiteId, SiteSecrets, VaultLocation,
};
use object_store::prefix::PrefixStore;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use vault::{RecoveryKey, SiteKey, Unlock, Vault, VaultError};

use crate::{Inner, JobsError, lock};

impl Inner {
    /// The database connection of a site, its password unsealed.
    pub(crate) async fn connection(&self, site: &SiteRecord) -> Result<Connection, JobsError> {
        let secrets = self.catalog.site_secrets(&site.definition.site_id).await?;
        Ok(connection_of(&site.definition.connection, secrets.password))
    }

    /// The site's vault, opened with the site's key. A vault that is not there yet is made, but
    /// only while the site has no saveset: an empty directory in the place of a full one is a disk
    /// that is not mounted. That can happen under a running server, and another server can take a
    /// vault over, so every call looks; what is known of a vault that is still the same is kept.
    ///
    /// # Errors
    /// When it cannot be reached, belongs to another server, or has vanished.
    pub(crate) async fn vault(&self, site: &SiteRecord) -> Result<Vault, JobsError> {
        let id = &site.definition.site_id;
        let vault = self.open_or_make_vault(site).await?;
        vault.own(&self.owner()?).await?;
        let mut opened = self.vaults.lock().await;
        match opened.get(id) {
            Some((version, known)) if *version == site.version && known.id() == vault.id() => {
                Ok(known.clone())
            }
            _ => {
                opened.insert(id.clone(), (site.version, vault.clone()));
                Ok(vault)
            }
        }
    }

    async fn open_or_make_vault(&self, site: &SiteRecord) -> Result<Vault, JobsError> {
        let id = &site.definition.site_id;
        let secrets = self.catalog.site_secrets(id).await?;
        let keys = self.catalog.site_keys(id).await?;
        let unreadable = || JobsError::KeysUnreadable(id.clone());
        let recovery: RecoveryKey = keys
            .recovery_key
            .expose_secret()
            .parse()
            .map_err(|_| unreadable())?;
        let site_key = keys
            .site_key
            .map(|key| SiteKey::from_text(key.expose_secret()).map_err(|_| unreadable()))
            .transpose()?;
        let store = open_store(&site.definition.vault, &secrets)?;
        // An adopted site has no site key of its own.
        let unlock = site_key
            .as_ref()
            .map_or(Unlock::RecoveryKey(&recovery), Unlock::SiteKey);
        let limits = self.settings.store_limits;
        let open = || Vault::open_within(store.clone(), unlock, limits);
        let opened = open().await;
        let Some(site_key) = &site_key else {
            return Ok(opened?);
        };
        match opened {
            Err(VaultError::NoVault { .. }) if !self.catalog.has_savesets(id).await? => {}
            other => return Ok(other?),
        }
        match Vault::create(store.clone(), site_key, &recovery, &self.owner()?).await {
            // Or somebody else has made it meanwhile; the key tells whether it is ours.
            Ok(_) | Err(VaultError::AlreadyThere { .. }) => Ok(open().await?),
            Err(error) => Err(error.into()),
        }
    }

    /// The streams of a site, shared by all its executions on this server.
    pub(crate) fn site_streams(&self, site: &SiteId, hard_limit: u32) -> Arc<Semaphore> {
        let mut streams = lock(&self.streams);
        match streams.get(site) {
            Some((limit, semaphore)) if *limit == hard_limit => semaphore.clone(),
            _ => {
                let permits = usize::try_from(hard_limit)
                    .unwrap_or(usize::MAX)
                    .min(Semaphore::MAX_PERMITS);
                let semaphore = Arc::new(Semaphore::new(permits));
                streams.insert(site.clone(), (hard_limit, semaphore.clone()));
                semaphore
            }
        }
    }

    pub(crate) fn owner(&self) -> Result<vault::OwnerId, JobsError> {
        self.catalog
            .node_id()
            .parse()
            .map_err(|_| JobsError::NodeId)
    }
}

/// Waits for the first answers of a vault unless the run is told to end: a store that is silent
/// keeps nobody waiting while the run has nothing in it that must be settled.
pub(crate) async fn unless_cancelled<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T, JobsError>>,
) -> Result<T, JobsError> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(flow::FlowError::Cancelled.into()),
        done = work => done,
    }
}

/// The store of a site's vault.
pub(crate) fn open_store(
    location: &VaultLocation,
    secrets: &SiteSecrets,
) -> Result<Arc<dyn object_store::ObjectStore>, VaultError> {
    let mut options = location.options.clone();
    for (name, secret) in &secrets.vault_options {
        options.insert(name.clone(), secret.expose_secret().to_owned());
    }
    let (store, prefix) = vault::open_store(&location.url, &options)?;
    Ok(Arc::new(PrefixStore::new(store, prefix)))
}

pub(crate) fn connection_of(place: &SiteConnection, password: Option<SecretString>) -> Connection {
    match place {
        SiteConnection::Postgresql { url } => Connection::Postgresql {
            url: url.clone(),
            password,
        },
        SiteConnection::Sqlite { path } => Connection::Sqlite { path: path.into() },
    }
}
