//! Lists of executions: a page, or all of them in steps.
//!
//! The order is the contract's: QUEUED first, then by start, newest first, then by id, highest
//! first. One column holds it (`order_time`), so a page is read along an index.

use std::collections::BTreeSet;

use model::{ExecutionId, ExecutionStatus, JobId, JobType, Moment, SiteId};

use crate::database::Conditions;
use crate::executions::{ExecutionRow, select_executions};
use crate::stored::{as_u64, word_from};
use crate::{Catalog, CatalogError, Execution, Page, Rows};

/// Which executions a list shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionFilter {
    /// The site that is asked.
    pub site: SiteId,
    /// Only restores, those into the site too; else only executions of the site's own jobs.
    pub restores_of_site: bool,
    /// Only of this job.
    pub job: Option<JobId>,
    /// Only restores of what this backup execution has saved.
    pub restores_from: Option<ExecutionId>,
    /// Only of this status.
    pub status: Option<ExecutionStatus>,
    /// Only of this type.
    pub job_type: Option<JobType>,
    /// Only those that started then or later.
    pub since: Option<Moment>,
    /// Only those that started before.
    pub until: Option<Moment>,
}

impl ExecutionFilter {
    /// All executions of a site's own jobs.
    pub fn of_site(site: &SiteId) -> Self {
        ExecutionFilter {
            site: site.clone(),
            restores_of_site: false,
            job: None,
            restores_from: None,
            status: None,
            job_type: None,
            since: None,
            until: None,
        }
    }

    /// All executions of one job.
    pub fn of_job(site: &SiteId, job: JobId) -> Self {
        ExecutionFilter {
            job: Some(job),
            ..ExecutionFilter::of_site(site)
        }
    }

    /// All restores from or to a site.
    pub fn restores_of_site(site: &SiteId) -> Self {
        ExecutionFilter {
            restores_of_site: true,
            ..ExecutionFilter::of_site(site)
        }
    }

    /// All restores of one backup execution.
    pub fn restores_from(site: &SiteId, backup: ExecutionId) -> Self {
        ExecutionFilter {
            restores_from: Some(backup),
            ..ExecutionFilter::of_site(site)
        }
    }

    fn push_where(&self, query: &mut Conditions) {
        if self.restores_of_site {
            query.push(" WHERE e.job_type = 'RESTORE' AND (e.site_id = ");
            query
                .push_bind(self.site.as_str().to_owned())
                .push(" OR e.target_site = ");
            query.push_bind(self.site.as_str().to_owned()).push(")");
        } else {
            query
                .push(" WHERE e.site_id = ")
                .push_bind(self.site.as_str().to_owned());
        }
        if let Some(job) = self.job {
            query.push(" AND e.job_id = ").push_bind(job.get());
        }
        if let Some(backup) = self.restores_from {
            query.push(" AND e.job_type = 'RESTORE' AND e.parent_execution = ");
            query.push_bind(backup.get());
        }
        if let Some(status) = self.status {
            query.push(" AND e.status = ").push_bind(status.to_string());
        }
        if let Some(job_type) = self.job_type {
            query
                .push(" AND e.job_type = ")
                .push_bind(job_type.to_string());
        }
        if let Some(since) = self.since {
            query
                .push(" AND e.start_time >= ")
                .push_bind(since.as_micros());
        }
        if let Some(until) = self.until {
            query
                .push(" AND e.start_time < ")
                .push_bind(until.as_micros());
        }
    }
}

impl Catalog {
    /// A page of executions.
    ///
    /// # Errors
    /// [`CatalogError::NoSite`].
    pub async fn executions(
        &self,
        filter: &ExecutionFilter,
        page: Page,
    ) -> Result<Rows<Execution>, CatalogError> {
        let total = self.count_executions(filter).await?;
        let (limit, offset) = page.limit_and_offset();
        let mut query = Conditions::new(select_executions!(""));
        filter.push_where(&mut query);
        query
            .push(" ORDER BY e.order_time DESC, e.execution_id DESC LIMIT ")
            .push_bind(limit);
        query.push(" OFFSET ").push_bind(offset);
        let rows: Vec<ExecutionRow> = query
            .build_query_as()
            .fetch_all(self.database().read())
            .await?;
        let rows = rows
            .into_iter()
            .map(ExecutionRow::into_execution)
            .collect::<Result<_, _>>()?;
        Ok(Rows { rows, total })
    }

    /// How many executions a list has.
    ///
    /// # Errors
    /// [`CatalogError::NoSite`].
    pub async fn count_executions(&self, filter: &ExecutionFilter) -> Result<u64, CatalogError> {
        self.site(&filter.site).await?;
        let mut query = Conditions::new("SELECT count(*) FROM execution e");
        filter.push_where(&mut query);
        let total: i64 = query
            .build_query_scalar()
            .fetch_one(self.database().read())
            .await?;
        Ok(as_u64(total))
    }

    /// How many executions there are of each status that any of them has.
    pub async fn execution_counts(&self) -> Result<Vec<(ExecutionStatus, u64)>, CatalogError> {
        let rows: Vec<(String, i64)> =
            sqlx::query_as("SELECT status, count(*) FROM execution GROUP BY status")
                .fetch_all(self.database().read())
                .await?;
        rows.into_iter()
            .map(|(status, count)| Ok((word_from("status", &status)?, as_u64(count))))
            .collect()
    }

    /// All executions of a list, in its order, read in steps: a history of years never stands in
    /// memory, and no connection is kept between two steps.
    pub fn execution_steps(&self, filter: ExecutionFilter) -> ExecutionSteps {
        ExecutionSteps {
            catalog: self.clone(),
            filter,
            after: None,
            queued: BTreeSet::new(),
        }
    }
}

/// Reads a list of executions step by step.
#[derive(Debug)]
pub struct ExecutionSteps {
    catalog: Catalog,
    filter: ExecutionFilter,
    /// Where the last step ended.
    after: Option<(i64, i64)>,
    /// Those that were QUEUED when they were read. One that starts meanwhile moves down the list
    /// and would be met again. There are at most as many as there are jobs.
    queued: BTreeSet<ExecutionId>,
}

impl ExecutionSteps {
    /// The next rows, at most `limit` (1 or more). Empty: that was all.
    pub async fn step(&mut self, limit: u32) -> Result<Vec<Execution>, CatalogError> {
        loop {
            let rows = self.read(limit).await?;
            let Some(last) = rows.last() else {
                return Ok(Vec::new());
            };
            self.after = Some(last.place());
            let mut executions = Vec::with_capacity(rows.len());
            for row in rows {
                let execution = row.into_execution()?;
                if self.queued.contains(&execution.execution_id) {
                    continue;
                }
                if execution.status == ExecutionStatus::Queued {
                    self.queued.insert(execution.execution_id);
                }
                executions.push(execution);
            }
            if !executions.is_empty() {
                return Ok(executions);
            }
        }
    }

    async fn read(&self, limit: u32) -> Result<Vec<ExecutionRow>, CatalogError> {
        let mut query = Conditions::new(select_executions!(""));
        self.filter.push_where(&mut query);
        if let Some((time, id)) = self.after {
            query
                .push(" AND (e.order_time, e.execution_id) < (")
                .push_bind(time);
            query.push(", ").push_bind(id).push(")");
        }
        query.push(" ORDER BY e.order_time DESC, e.execution_id DESC LIMIT ");
        query.push_bind(i64::from(limit.max(1)));
        Ok(query
            .build_query_as()
            .fetch_all(self.catalog.database().read())
            .await?)
    }
}
