//! Sites: database systems with their vaults.

use model::{Moment, SiteDefinition, SiteId, SiteSecrets};

use crate::database::{Connection, is_duplicate};
use crate::stored::{as_u64, from_json, id_from, to_json};
use crate::{Catalog, CatalogError, Page, Rows, SecretsChange, SiteKeys};

/// A site as the catalog keeps it, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteRecord {
    /// As its user defined it.
    pub definition: SiteDefinition,
    /// From 1; one more with each change.
    pub version: i64,
    /// When it was made.
    pub created_at: Moment,
    /// Whether the database user's password is known.
    pub has_password: bool,
}

#[derive(sqlx_macros::FromRow)]
struct SiteRow {
    document: String,
    version: i64,
    created_at: i64,
    has_password: bool,
}

impl SiteRow {
    fn into_record(self) -> Result<SiteRecord, CatalogError> {
        Ok(SiteRecord {
            definition: from_json("a site", &self.document)?,
            version: self.version,
            created_at: Moment::from_micros(self.created_at),
            has_password: self.has_password,
        })
    }
}

impl Catalog {
    /// Makes a site.
    ///
    /// # Errors
    /// [`CatalogError::SiteExists`].
    pub async fn create_site(
        &self,
        definition: &SiteDefinition,
        secrets: &SiteSecrets,
        keys: &SiteKeys,
    ) -> Result<SiteRecord, CatalogError> {
        let site = &definition.site_id;
        let now = self.now();
        let mut tx = self.database().begin().await?;
        insert_site(&mut tx, definition, now).await?;
        self.put_first_secrets(&mut tx, site, secrets, keys).await?;
        let record = site_record(&mut tx, site).await?;
        tx.commit().await?;
        Ok(record)
    }

    /// One site.
    ///
    /// # Errors
    /// [`CatalogError::NoSite`].
    pub async fn site(&self, site: &SiteId) -> Result<SiteRecord, CatalogError> {
        let mut connection = self.database().read().acquire().await?;
        site_record(&mut connection, site).await
    }

    /// Sites by their ids.
    pub async fn sites(&self, page: Page) -> Result<Rows<SiteRecord>, CatalogError> {
        let (limit, offset) = page.limit_and_offset();
        let rows: Vec<SiteRow> = sqlx::query_as(
            "SELECT document, version, created_at,
                    EXISTS (SELECT 1 FROM site_secret s
                            WHERE s.site_id = site.site_id AND s.name = 'password') AS has_password
             FROM site ORDER BY site_id LIMIT $1 OFFSET $2",
        )
        .bind(limit)
        .bind(offset)
        .fetch_all(self.database().read())
        .await?;
        let total: i64 = sqlx::query_scalar("SELECT count(*) FROM site")
            .fetch_one(self.database().read())
            .await?;
        let rows = rows
            .into_iter()
            .map(SiteRow::into_record)
            .collect::<Result<_, _>>()?;
        Ok(Rows {
            rows,
            total: as_u64(total),
        })
    }

    /// The sites that have an active backup job.
    pub async fn active_sites(&self) -> Result<Vec<SiteRecord>, CatalogError> {
        let rows: Vec<SiteRow> = sqlx::query_as(
            "SELECT document, version, created_at,
                    EXISTS (SELECT 1 FROM site_secret s
                            WHERE s.site_id = site.site_id AND s.name = 'password') AS has_password
             FROM site
             WHERE EXISTS (SELECT 1 FROM job j
                           WHERE j.site_id = site.site_id AND j.job_type = 'BACKUP'
                             AND j.is_active AND j.deleted_at IS NULL)
             ORDER BY site_id",
        )
        .fetch_all(self.database().read())
        .await?;
        rows.into_iter().map(SiteRow::into_record).collect()
    }

    /// Changes a site. `expected` is the version that the caller has seen; `None` changes any.
    ///
    /// # Errors
    /// [`CatalogError::NoSite`], [`CatalogError::StaleVersion`], [`CatalogError::Fixed`] for
    /// another site type.
    pub async fn update_site(
        &self,
        definition: &SiteDefinition,
        secrets: &SecretsChange,
        expected: Option<i64>,
    ) -> Result<SiteRecord, CatalogError> {
        let site = &definition.site_id;
        let mut tx = self.database().begin().await?;
        let before = site_record(&mut tx, site).await?;
        check_version(&format!("site {site}"), before.version, expected)?;
        check_fixed(
            "site_type",
            before.definition.site_type,
            definition.site_type,
        )?;
        sqlx::query(
            "UPDATE site SET document = $1, version = version + 1, updated_at = $2
             WHERE site_id = $3 AND version = $4",
        )
        .bind(to_json("a site", definition)?)
        .bind(self.now().as_micros())
        .bind(site.as_str())
        .bind(before.version)
        .execute(&mut *tx)
        .await?;
        self.change_secrets(&mut tx, site, secrets).await?;
        let record = site_record(&mut tx, site).await?;
        tx.commit().await?;
        Ok(record)
    }

    /// Forgets a site: its secrets, the history of its deleted jobs, its list of savesets. The
    /// vault is not touched; vault and recovery key still give every row.
    ///
    /// # Errors
    /// [`CatalogError::NoSite`], [`CatalogError::SiteHasJobs`], [`CatalogError::SiteBusy`] if a
    /// restore of another site into this one has not ended.
    pub async fn delete_site(&self, site: &SiteId) -> Result<(), CatalogError> {
        let mut tx = self.database().begin().await?;
        site_record(&mut tx, site).await?;
        let jobs: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM job WHERE site_id = $1 AND deleted_at IS NULL",
        )
        .bind(site.as_str())
        .fetch_one(&mut *tx)
        .await?;
        if jobs > 0 {
            return Err(CatalogError::SiteHasJobs {
                site: site.clone(),
                jobs: as_u64(jobs),
            });
        }
        let restore: Option<i64> = sqlx::query_scalar(
            "SELECT min(execution_id) FROM execution
             WHERE target_site = $1 AND status IN ('QUEUED', 'RUNNING', 'ABORTING')",
        )
        .bind(site.as_str())
        .fetch_one(&mut *tx)
        .await?;
        if let Some(restore) = restore {
            let execution = id_from(restore)?;
            return Err(CatalogError::SiteBusy {
                site: site.clone(),
                execution,
            });
        }
        forget(&mut tx, site).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Writes a new site's row.
pub(crate) async fn insert_site(
    tx: &mut Connection,
    definition: &SiteDefinition,
    now: Moment,
) -> Result<(), CatalogError> {
    let site = &definition.site_id;
    sqlx::query(
        "INSERT INTO site (site_id, document, version, created_at, updated_at)
         VALUES ($1, $2, 1, $3, $3)",
    )
    .bind(site.as_str())
    .bind(to_json("a site", definition)?)
    .bind(now.as_micros())
    .execute(tx)
    .await
    .map_err(|error| match is_duplicate(&error) {
        true => CatalogError::SiteExists(site.clone()),
        false => error.into(),
    })?;
    Ok(())
}

async fn forget(tx: &mut Connection, site: &SiteId) -> Result<(), CatalogError> {
    const STATEMENTS: [&str; 9] = [
        "DELETE FROM verification WHERE of_site = $1",
        "DELETE FROM beat WHERE site_id = $1",
        "DELETE FROM idempotency WHERE site_id = $1",
        "DELETE FROM saveset WHERE site_id = $1",
        "DELETE FROM execution_notes WHERE execution_id IN
             (SELECT execution_id FROM execution WHERE site_id = $1)",
        "DELETE FROM execution WHERE site_id = $1",
        "DELETE FROM job WHERE site_id = $1",
        "DELETE FROM site_secret WHERE site_id = $1",
        "DELETE FROM site WHERE site_id = $1",
    ];
    for statement in STATEMENTS {
        sqlx::query(statement)
            .bind(site.as_str())
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// One site inside a transaction.
pub(crate) async fn site_record(
    tx: &mut Connection,
    site: &SiteId,
) -> Result<SiteRecord, CatalogError> {
    let row: Option<SiteRow> = sqlx::query_as(
        "SELECT document, version, created_at,
                EXISTS (SELECT 1 FROM site_secret s
                        WHERE s.site_id = site.site_id AND s.name = 'password') AS has_password
         FROM site WHERE site_id = $1",
    )
    .bind(site.as_str())
    .fetch_optional(tx)
    .await?;
    row.ok_or_else(|| CatalogError::NoSite(site.clone()))?
        .into_record()
}

/// Refuses a change of something that has changed since the caller saw it.
pub(crate) fn check_version(
    what: &str,
    found: i64,
    expected: Option<i64>,
) -> Result<(), CatalogError> {
    match expected {
        Some(expected) if expected != found => Err(CatalogError::StaleVersion {
            what: what.to_owned(),
            expected,
            found,
        }),
        _ => Ok(()),
    }
}

/// Refuses a change of a field that never changes.
pub(crate) fn check_fixed<T: PartialEq + ToString>(
    field: &'static str,
    was: T,
    wanted: T,
) -> Result<(), CatalogError> {
    if was == wanted {
        return Ok(());
    }
    Err(CatalogError::Fixed {
        field,
        was: was.to_string(),
        wanted: wanted.to_string(),
    })
}
