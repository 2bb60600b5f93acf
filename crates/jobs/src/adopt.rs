//! Adopting: a site comes back on a new server from its vault and its recovery key alone.
//!
//! Everything is read first, so that what cannot be adopted is left as it was. Then the vault is
//! taken over, the runs of the earlier owner are declared dead, and the site enters the catalog, all
//! at once. Each step may be repeated: an adoption that was cut off is simply asked for again.

mod rows;

use std::collections::{BTreeMap, BTreeSet};

use catalog::{Adopted, Page, SiteKeys, SiteRecord};
use futures::{StreamExt, TryStreamExt, stream};
use model::{
    Blame, ExposeSecret, Fault, SavesetId, SecretString, SiteConnection, SiteId, SiteSecrets,
    SiteType, VaultLocation,
};
use vault::{DeadOrAlive, Owner, OwnerId, RecoveryKey, SavesetState, Unlock, Vault};

use crate::connect::open_store;
use crate::safekeeping::{SiteRows, newest_rows};
use crate::{Jobs, JobsError, words};
use rows::Found;

/// Manifests that are opened at once: each may be large.
const MANIFESTS_AT_ONCE: usize = 4;

/// What the tombstone of a run of the earlier owner says.
const REASON: &str = "its site was adopted by another server while it ran";

/// A vault that is to be adopted.
#[derive(Debug, Clone)]
pub struct AdoptRequest {
    /// Where it is.
    pub vault: VaultLocation,
    /// Secret settings of its store.
    pub vault_secrets: BTreeMap<String, SecretString>,
    /// Opens it.
    pub recovery_key: SecretString,
    /// Take it from the server that owns it.
    pub take_over: bool,
    /// The site's id here; `None`: the one that it had.
    pub site_id: Option<SiteId>,
    /// Where its database system is; `None`: where it was. Passwords are not in a vault.
    pub connection: Option<SiteConnection>,
    /// The database user's password.
    pub password: Option<SecretString>,
}

/// A site that was adopted.
#[derive(Debug, Clone)]
pub struct AdoptedSite {
    /// As the catalog has it now.
    pub site: SiteRecord,
    /// Its jobs, without those of which only savesets remain.
    pub jobs: u64,
    /// Its savesets.
    pub savesets: u64,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// What a vault tells of its site.
struct Told {
    owner: Option<Owner>,
    copy: Option<(model::ExecutionId, SiteRows)>,
    found: BTreeMap<SavesetId, Found>,
    /// The highest number of an execution that the vault names.
    highest_execution: i64,
    notes: Vec<String>,
}

impl Jobs {
    /// Adopts a site: out of its vault come the site, its jobs, its savesets and the executions that
    /// made them, as if they had been made here.
    ///
    /// # Errors
    /// When the vault cannot be reached or the recovery key is not its own; when another server owns
    /// it and it is not to be taken over; when there is a site of that id; when the vault does not
    /// say what must then be given.
    pub async fn adopt_site(&self, request: AdoptRequest) -> Result<AdoptedSite, JobsError> {
        let _one_at_a_time = self.inner.adopting.lock().await;
        let recovery_key: RecoveryKey = request.recovery_key.expose_secret().parse()?;
        let mut secrets = SiteSecrets {
            password: request.password.clone(),
            vault_options: request.vault_secrets.clone(),
        };
        let store = open_store(&request.vault, &secrets)?;
        let vault = Vault::open(store, Unlock::RecoveryKey(&recovery_key)).await?;
        let us = self.inner.owner()?;
        let mut told = Told::read(&vault).await?;
        told.may_be_taken(&us, request.take_over)?;
        let definition = rows::definition(&request, &told)?;
        self.inner.registry.engine(definition.site_type)?;
        self.must_be_new(&definition.site_id, &request.vault, &vault)
            .await?;

        let came_from = told.owner.take().filter(|owner| owner.id != us);
        take(&vault, &us, &mut told).await?;
        let sites = self.inner.catalog.sites(Page::All).await?.rows;
        let here = sites.into_iter().map(|site| site.definition.site_id);
        let keys = SiteKeys {
            site_key: None,
            recovery_key: recovery_key.to_text(),
        };
        let no_password =
            definition.site_type == SiteType::Postgresql && secrets.password.is_none();
        if definition.site_type == SiteType::Sqlite {
            secrets.password = None;
        }
        let rows = rows::Rows::new(definition, here.collect(), came_from.is_some());
        let adoption = rows.adoption(&mut told, secrets, keys);
        let adopted = self.inner.catalog.adopt_site(&adoption).await?;
        tracing::info!(
            site = %adopted.site.definition.site_id,
            savesets = adoption.savesets.len(),
            "the site was adopted from its vault"
        );
        if no_password {
            told.notes.push(
                "A vault holds no passwords: if the database asks for one, give it to the site."
                    .to_owned(),
            );
        }
        told.notes.extend(renumbered(&adopted));
        Ok(AdoptedSite {
            site: adopted.site,
            jobs: adoption.jobs.iter().filter(|job| !job.is_deleted).count() as u64,
            savesets: adoption.savesets.len() as u64,
            notes: told.notes,
        })
    }

    /// A vault is never shared by two sites, and an id is given once.
    async fn must_be_new(
        &self,
        site: &SiteId,
        place: &VaultLocation,
        vault: &Vault,
    ) -> Result<(), JobsError> {
        let opened = self.inner.vaults.lock().await;
        for known in self.inner.catalog.sites(Page::All).await?.rows {
            let known = known.definition;
            if known.site_id == *site {
                return Err(catalog::CatalogError::SiteExists(known.site_id).into());
            }
            let same = opened
                .get(&known.site_id)
                .is_some_and(|(_, opened)| opened.id() == vault.id());
            if same || known.vault.url.trim_end_matches('/') == place.url.trim_end_matches('/') {
                return Err(JobsError::VaultInUse {
                    url: place.url.clone(),
                    site: known.site_id,
                });
            }
        }
        Ok(())
    }
}

/// Takes the vault over; then nothing enters it but by us. What committed since it was read is read
/// now.
async fn take(vault: &Vault, us: &OwnerId, told: &mut Told) -> Result<(), JobsError> {
    vault.take_over(us).await?;
    let mut ended = 0;
    for pin in vault.pins().await? {
        told.highest_execution = told.highest_execution.max(pin.execution.execution.get());
        if let DeadOrAlive::Dead = vault.declare_dead(pin.saveset_id, REASON).await? {
            ended += 1;
        }
    }
    if ended > 0 {
        told.notes.push(format!(
            "{} of the earlier owner had not come to an end and left nothing.",
            words::count(ended, "run")
        ));
    }
    told.read_savesets(vault).await
}

impl Told {
    async fn read(vault: &Vault) -> Result<Told, JobsError> {
        let mut notes = Vec::new();
        let copy = newest_rows(vault, &mut notes).await?;
        let copies = vault.catalogs().await?;
        let mut told = Told {
            owner: vault.owner().await?,
            copy,
            found: BTreeMap::new(),
            highest_execution: copies.first().map_or(0, |newest| newest.get()),
            notes,
        };
        told.read_savesets(vault).await?;
        Ok(told)
    }

    fn may_be_taken(&self, us: &OwnerId, take_over: bool) -> Result<(), JobsError> {
        match &self.owner {
            Some(owner) if owner.id != *us && !take_over => Err(JobsError::VaultHeld {
                owner: owner.id.to_string(),
                number: owner.number,
            }),
            _ => Ok(()),
        }
    }

    /// Opens the manifests that were not opened yet. One that cannot be read stays where it is: it
    /// may be mended from a copy of the vault.
    async fn read_savesets(&mut self, vault: &Vault) -> Result<(), JobsError> {
        let states = vault.saveset_states().await?;
        let there: BTreeSet<SavesetId> = states
            .iter()
            .filter(|(_, state)| matches!(state, SavesetState::Committed))
            .map(|(id, _)| *id)
            .collect();
        // What the earlier owner dropped since it was read.
        self.found.retain(|id, _| there.contains(id));
        let new = there
            .into_iter()
            .filter(|id| !self.found.contains_key(id))
            .collect::<Vec<_>>();
        let opened: Vec<_> = stream::iter(new)
            .map(|id| async move {
                match vault.open_saveset(id).await {
                    Ok(saveset) => Ok((id, Ok(Found::of(&saveset)))),
                    Err(error) if error.blame() == Blame::Damaged => Ok((id, Err(error))),
                    Err(error) => Err(JobsError::from(error)),
                }
            })
            .buffer_unordered(MANIFESTS_AT_ONCE)
            .try_collect()
            .await?;
        for (id, opened) in opened {
            match opened {
                Ok(found) => {
                    let execution = found.execution.execution.get();
                    self.highest_execution = self.highest_execution.max(execution);
                    self.found.insert(id, found);
                }
                Err(error) => {
                    let fault: &dyn Fault = &error;
                    let what = fault.sentence();
                    let note = format!("Saveset {id} cannot be read and was left out: {what}");
                    if !self.notes.contains(&note) {
                        self.notes.push(note);
                    }
                }
            }
        }
        Ok(())
    }
}

/// What got another number here, as sentences.
fn renumbered(adopted: &Adopted) -> Vec<String> {
    let mut notes: Vec<String> = adopted
        .renumbered_jobs
        .iter()
        .map(|(was, is)| format!("Job {was} is job {is} here: its number was taken."))
        .collect();
    if !adopted.renumbered_executions.is_empty() {
        notes.push(format!(
            "{} got new numbers here, since theirs were taken.",
            words::count(adopted.renumbered_executions.len() as u64, "execution")
        ));
    }
    notes
}
