//! Looking: into a live site, and into a saveset.

use catalog::Page;
use model::{
    BrowsedObject, Credentials, ExecutionId, JobId, MissingRight, ObjectName, ObjectType, Parent,
    SavesetId, SiteId, SiteType,
};

use crate::{Jobs, JobsError};

/// An object of a saveset (contract, row 8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Its name.
    pub name: ObjectName,
    /// Its type.
    pub object_type: ObjectType,
    /// What it is in.
    pub parent_name: ObjectName,
    /// The type of what it is in.
    pub parent_type: ObjectType,
    /// The bytes of its rows in the saveset; `None` where it has none of its own.
    pub byte_count: Option<u64>,
}

/// A page of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectPage {
    /// The objects.
    pub objects: Vec<ListedObject>,
    /// How many there are in all.
    pub total: u64,
}

impl Jobs {
    /// The objects below `parent` in a live site.
    ///
    /// # Errors
    /// When there is no such site, or its database system cannot be reached.
    pub async fn browse(
        &self,
        site: &SiteId,
        parent: &Parent,
    ) -> Result<Vec<BrowsedObject>, JobsError> {
        let site = self.inner.catalog.site(site).await?;
        let engine = self.inner.registry.engine(site.definition.site_type)?;
        let connection = self.inner.connection(&site).await?;
        Ok(engine.browse(&connection, parent).await?)
    }

    /// What these database credentials lack to restore whatever the site holds, back into its
    /// place; empty: nothing.
    ///
    /// # Errors
    /// When there is no such site, the credentials are missing (SQLite needs none) or refused, or
    /// the database system cannot be reached.
    pub async fn restore_permissions(
        &self,
        site: &SiteId,
        credentials: Option<Credentials>,
    ) -> Result<Vec<MissingRight>, JobsError> {
        let site = self.inner.catalog.site(site).await?;
        let credentials = match site.definition.site_type {
            SiteType::Sqlite => None,
            SiteType::Postgresql => Some(credentials.ok_or(JobsError::NoCredentials)?),
        };
        let engine = self.inner.registry.engine(site.definition.site_type)?;
        let connection = self.inner.connection(&site).await?;
        let asked = engine.restore_permissions(&connection, credentials.as_ref());
        Ok(asked.await?)
    }

    /// The objects of the saveset that an execution left, those whose name holds `search` in any
    /// letter case.
    ///
    /// # Errors
    /// When the execution is not there, left no saveset, or the saveset cannot be read.
    pub async fn objects(
        &self,
        site: &SiteId,
        job: JobId,
        execution: ExecutionId,
        search: Option<&str>,
        page: Page,
    ) -> Result<ObjectPage, JobsError> {
        let saveset = self.saveset_of(site, job, execution).await?;
        let record = self.inner.catalog.site(site).await?;
        let saveset = self
            .inner
            .vault(&record)
            .await?
            .open_saveset(saveset)
            .await?;
        let wanted = search.map(str::to_lowercase);
        let databases = saveset.databases().iter();
        let objects = databases.flat_map(|saved| saved.objects.iter().map(move |o| (saved, o)));
        let found: Vec<ListedObject> = objects
            .map(|(saved, object)| ListedObject {
                name: object.name.clone(),
                object_type: object.object_type,
                parent_name: object.parent_name.clone(),
                parent_type: object.parent_type,
                byte_count: object
                    .table
                    .and_then(|t| saved.tables.get(t))
                    .map(|t| t.plain_bytes),
            })
            .filter(|o| {
                wanted
                    .as_ref()
                    .is_none_or(|w| o.name.to_string().to_lowercase().contains(w))
            })
            .collect();
        let total = found.len() as u64;
        let objects = match page {
            Page::All => found,
            Page::Numbered { number, size } => found
                .into_iter()
                .skip(
                    usize::try_from(number.saturating_sub(1).saturating_mul(size))
                        .unwrap_or(usize::MAX),
                )
                .take(usize::try_from(size).unwrap_or(usize::MAX))
                .collect(),
        };
        Ok(ObjectPage { objects, total })
    }

    /// The saveset that a backup execution of that job left and that still exists.
    pub(crate) async fn saveset_of(
        &self,
        site: &SiteId,
        job: JobId,
        id: ExecutionId,
    ) -> Result<SavesetId, JobsError> {
        let execution = self.inner.catalog.execution(site, id).await?;
        let nothing = |why: String| JobsError::NothingToRestore { execution: id, why };
        if execution.job_id != job {
            return Err(catalog::CatalogError::NoExecution {
                site: site.clone(),
                execution: id,
            }
            .into());
        }
        match execution.saveset_id {
            Some(_) if execution.is_saveset_deleted => {
                Err(nothing("its saveset was deleted".to_owned()))
            }
            Some(saveset) => Ok(saveset),
            None => Err(nothing(format!("it is {}", execution.status))),
        }
    }
}
