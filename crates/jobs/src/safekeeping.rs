//! The site's catalog rows, kept in its vault after each run: the vault outlives the server.

use catalog::{Page, SiteRecord};
use model::{ExecutionId, Fault, JobDefinition, JobId, Progress, SavesetId, SiteDefinition};
use serde::Serialize;
use vault::Vault;

use crate::{Inner, JobsError};

/// What a new server needs beside the manifests to take the site over. No secret is in it, and the
/// vault encrypts it all the same.
#[derive(Serialize)]
struct SiteRows {
    /// The version of this form.
    format: u32,
    site: SiteDefinition,
    jobs: Vec<JobRow>,
    /// Savesets that are protected from retention: manifests do not say so.
    retained: Vec<SavesetId>,
}

#[derive(Serialize)]
struct JobRow {
    job_id: JobId,
    definition: JobDefinition,
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
        let rows = SiteRows {
            format: 1,
            site: site.definition.clone(),
            jobs: jobs
                .into_iter()
                .map(|job| JobRow {
                    job_id: job.job_id,
                    definition: job.definition,
                })
                .collect(),
            retained: savesets
                .into_iter()
                .filter(|s| s.is_retained)
                .map(|s| s.saveset_id)
                .collect(),
        };
        Ok(vault
            .put_catalog(execution, serde_json::to_vec(&rows)?)
            .await?)
    }
}
