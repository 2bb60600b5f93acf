//! The site's catalog rows, kept in its vault after each run: the vault outlives the server.

use catalog::{Page, SiteRecord};
use model::{Blame, ExecutionId, Fault, JobDefinition, JobId, Progress, SavesetId, SiteDefinition};
use serde::{Deserialize, Serialize};
use vault::{Vault, VaultError};

use crate::{Inner, JobsError};

/// The version of the form written here.
const FORMAT: u32 = 1;

/// What a new server needs beside the manifests to take the site over. No secret is in it, and the
/// vault encrypts it all the same.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SiteRows {
    /// The version of this form.
    format: u32,
    pub(crate) site: SiteDefinition,
    pub(crate) jobs: Vec<JobRow>,
    /// Savesets that are protected from retention: manifests do not say so.
    pub(crate) retained: Vec<SavesetId>,
    /// Whose the savesets are in this catalog. A manifest names job and execution by the numbers of
    /// the server that wrote it, which an adoption may have changed.
    #[serde(default)]
    pub(crate) savesets: Vec<SavesetRow>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct JobRow {
    pub(crate) job_id: JobId,
    pub(crate) definition: JobDefinition,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SavesetRow {
    pub(crate) saveset_id: SavesetId,
    pub(crate) job_id: JobId,
    pub(crate) execution_id: ExecutionId,
    /// The execution whose saveset it was built on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent_execution_id: Option<ExecutionId>,
    /// What then decided what is stored, for whoever builds on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) made_with: Option<String>,
    /// A verification has found it damaged.
    #[serde(default)]
    pub(crate) is_damaged: bool,
}

/// The newest rows in a vault that can be read, and after which execution they were written. What
/// could not be read is told in `notes`.
///
/// # Errors
/// What the store says; [`VaultError::NewerFormat`].
pub(crate) async fn newest_rows(
    vault: &Vault,
    notes: &mut Vec<String>,
) -> Result<Option<(ExecutionId, SiteRows)>, JobsError> {
    for execution in vault.catalogs().await? {
        match vault.catalog(execution).await {
            Ok(bytes) => match read(execution, &bytes) {
                Ok(rows) => return Ok(Some((execution, rows))),
                Err(error @ VaultError::NewerFormat { .. }) => return Err(error.into()),
                Err(error) => notes.push(passed_over(&error)),
            },
            Err(error) if error.blame() == Blame::Damaged => notes.push(passed_over(&error)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

fn read(execution: ExecutionId, bytes: &[u8]) -> Result<SiteRows, VaultError> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let path = format!("catalog/{execution}");
    let damaged = |error: serde_json::Error| VaultError::Damaged {
        path: path.clone(),
        what: format!("its JSON cannot be read: {error}"),
    };
    let version: Version = serde_json::from_slice(bytes).map_err(damaged)?;
    if version.format > FORMAT {
        return Err(VaultError::NewerFormat {
            path,
            found: version.format.into(),
            known: FORMAT.into(),
        });
    }
    serde_json::from_slice(bytes).map_err(damaged)
}

fn passed_over(error: &VaultError) -> String {
    let fault: &dyn Fault = error;
    format!(
        "A copy of the catalog was passed over: {}",
        fault.sentence()
    )
}

impl Inner {
    /// Puts the rows; what fails is a warning, since the saveset itself is committed.
    pub(crate) async fn save_catalog_rows(
        &self,
        site: &SiteRecord,
        vault: &Vault,
        execution: ExecutionId,
        progress: &dyn Progress,
    ) {
        if let Err(error) = self.put_catalog_rows(site, vault, execution).await {
            let fault: &dyn Fault = &error;
            progress.warning(format!(
                "the site's jobs were not written into the vault: {}",
                fault.sentence()
            ));
        }
    }

    async fn put_catalog_rows(
        &self,
        site: &SiteRecord,
        vault: &Vault,
        execution: ExecutionId,
    ) -> Result<(), JobsError> {
        let id = &site.definition.site_id;
        let jobs = self
            .catalog
            .jobs(id, catalog::JobFilter::default(), Page::All)
            .await?
            .rows;
        let savesets = self.catalog.savesets(id, None, Page::All).await?.rows;
        let mut origins = self.catalog.origins(id).await?;
        let rows = SiteRows {
            format: FORMAT,
            site: site.definition.clone(),
            jobs: jobs
                .into_iter()
                .map(|job| JobRow {
                    job_id: job.job_id,
                    definition: job.definition,
                })
                .collect(),
            retained: savesets
                .iter()
                .filter(|saveset| saveset.is_retained)
                .map(|saveset| saveset.saveset_id)
                .collect(),
            savesets: savesets
                .iter()
                .map(|saveset| {
                    let origin = origins.remove(&saveset.execution_id).unwrap_or_default();
                    SavesetRow {
                        saveset_id: saveset.saveset_id,
                        job_id: saveset.job_id,
                        execution_id: saveset.execution_id,
                        parent_execution_id: origin.parent_execution,
                        made_with: origin.made_with,
                        is_damaged: saveset.is_damaged,
                    }
                })
                .collect(),
        };
        Ok(vault
            .put_catalog(execution, serde_json::to_vec(&rows)?)
            .await?)
    }
}
