//! Verifications of savesets: the newest of each, and what it found.

use model::{Moment, SavesetId, SiteId};
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString};

use crate::database::Connection;
use crate::savesets::usable_saveset;
use crate::stored::{as_i64, as_u64, from_json, maybe_moment, to_json, word_from};
use crate::{Catalog, CatalogError};

/// How far a verification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, EnumString)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum VerificationStatus {
    /// It waits for its turn.
    Queued,
    /// It reads.
    Running,
    /// Everything is as it was written.
    Successful,
    /// Something is damaged or missing.
    Failed,
    /// It did not come to its end; nothing is known.
    Aborted,
}

impl VerificationStatus {
    /// Whether nothing more happens.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// The newest verification of a saveset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// How far it is.
    pub status: VerificationStatus,
    /// Whether contents are also unpacked and compared with their hashes.
    pub thorough: bool,
    /// When it was asked for.
    pub asked_at: Moment,
    /// `None` while QUEUED, and where it never began.
    pub start_time: Option<Moment>,
    /// `None` until it has ended.
    pub end_time: Option<Moment>,
    /// Bytes in the vault that there are to be read.
    pub bytes_total: u64,
    /// Bytes in the vault that were read.
    pub bytes_done: u64,
    /// What is damaged or missing; the first of many.
    pub damaged: Vec<DamagedObject>,
    /// How many there are in all.
    pub damaged_count: u64,
    /// A sentence for a person.
    pub detail: String,
}

/// An object of a vault that is not what was written, or not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedObject {
    /// Its path in the vault.
    pub object: String,
    /// Which frame of it; `None`: all of it.
    pub frame: Option<u32>,
    /// What is wrong.
    pub what: String,
    /// What cannot be restored.
    pub concerns: Vec<Concerned>,
}

/// What a damage concerns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concerned {
    /// SAVESET, DICTIONARY or ROWS.
    pub kind: String,
    /// The database.
    pub database: Option<String>,
    /// The table, or the part of the dictionary.
    pub name: Option<String>,
    /// ROWS: how many of the table.
    pub rows: Option<u64>,
    /// A sentence for a person.
    pub text: String,
}

/// How a verification ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerificationEnd {
    /// A final one.
    pub status: VerificationStatus,
    /// Bytes that were read.
    pub bytes_done: u64,
    /// What is damaged.
    pub damaged: Vec<DamagedObject>,
    /// How many there are in all.
    pub damaged_count: u64,
    /// A sentence for a person.
    pub detail: String,
}

/// A verification as a join with its saveset has it: all or none.
#[derive(sqlx_macros::FromRow)]
pub(crate) struct VerificationRow {
    status: Option<String>,
    thorough: Option<bool>,
    asked_at: Option<i64>,
    began_at: Option<i64>,
    ended_at: Option<i64>,
    bytes_total: Option<i64>,
    bytes_done: Option<i64>,
    damaged: Option<String>,
    damaged_count: Option<i64>,
    detail: Option<String>,
}

impl VerificationRow {
    pub(crate) fn into_verification(self) -> Result<Option<Verification>, CatalogError> {
        let Some(status) = self.status else {
            return Ok(None);
        };
        let damaged = self.damaged.as_deref().unwrap_or("[]");
        Ok(Some(Verification {
            status: word_from("status of a verification", &status)?,
            thorough: self.thorough.unwrap_or(false),
            asked_at: Moment::from_micros(self.asked_at.unwrap_or(0)),
            start_time: maybe_moment(self.began_at),
            end_time: maybe_moment(self.ended_at),
            bytes_total: as_u64(self.bytes_total.unwrap_or(0)),
            bytes_done: as_u64(self.bytes_done.unwrap_or(0)),
            damaged: from_json("what a verification found", damaged)?,
            damaged_count: as_u64(self.damaged_count.unwrap_or(0)),
            detail: self.detail.unwrap_or_default(),
        }))
    }
}

impl Catalog {
    /// A verification of that saveset waits from now on. What the one before it found is replaced;
    /// that the saveset is damaged stays known.
    ///
    /// # Errors
    /// [`CatalogError::NoSaveset`], also when its deletion has begun;
    /// [`CatalogError::VerificationRunning`].
    pub async fn begin_verification(
        &self,
        site: &SiteId,
        saveset: SavesetId,
        thorough: bool,
        detail: &str,
    ) -> Result<(), CatalogError> {
        self.site(site).await?;
        let mut tx = self.database().begin().await?;
        let record = usable_saveset(&mut tx, site, saveset).await?;
        if record.verification.is_some_and(|v| !v.status.is_final()) {
            return Err(CatalogError::VerificationRunning {
                site: site.clone(),
                saveset,
            });
        }
        sqlx::query("DELETE FROM verification WHERE of_site = $1 AND of_saveset = $2")
            .bind(site.as_str())
            .bind(saveset.get())
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "INSERT INTO verification (of_site, of_saveset, status, thorough, asked_at,
                 bytes_total, detail)
             VALUES ($1, $2, 'QUEUED', $3, $4, $5, $6)",
        )
        .bind(site.as_str())
        .bind(saveset.get())
        .bind(thorough)
        .bind(self.now().as_micros())
        .bind(as_i64(record.backup_set_size))
        .bind(detail)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// So far it has come. It is RUNNING with the first call. `false`: it has ended, or its saveset
    /// is forgotten.
    pub async fn verification_progress(
        &self,
        site: &SiteId,
        saveset: SavesetId,
        bytes_done: u64,
        detail: &str,
    ) -> Result<bool, CatalogError> {
        let changed = sqlx::query(
            "UPDATE verification
             SET status = 'RUNNING', began_at = COALESCE(began_at, $1), bytes_done = $2, detail = $3
             WHERE of_site = $4 AND of_saveset = $5 AND status IN ('QUEUED', 'RUNNING')",
        )
        .bind(self.now().as_micros())
        .bind(as_i64(bytes_done))
        .bind(detail)
        .bind(site.as_str())
        .bind(saveset.get())
        .execute(self.database().write())
        .await?;
        Ok(changed.rows_affected() == 1)
    }

    /// Writes the end of a verification, and whether its saveset is known to be damaged.
    pub async fn end_verification(
        &self,
        site: &SiteId,
        saveset: SavesetId,
        end: &VerificationEnd,
    ) -> Result<(), CatalogError> {
        let now = self.now().as_micros();
        let mut tx = self.database().begin().await?;
        let thorough: Option<bool> = sqlx::query_scalar(
            "UPDATE verification
             SET status = $1, ended_at = $2, bytes_done = $3, damaged = $4, damaged_count = $5,
                 detail = $6
             WHERE of_site = $7 AND of_saveset = $8 AND status IN ('QUEUED', 'RUNNING')
             RETURNING thorough",
        )
        .bind(end.status.to_string())
        .bind(now)
        .bind(as_i64(end.bytes_done))
        .bind(to_json("what a verification found", &end.damaged)?)
        .bind(as_i64(end.damaged_count))
        .bind(&end.detail)
        .bind(site.as_str())
        .bind(saveset.get())
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(thorough) = thorough {
            remember(&mut tx, site, saveset, end.status, thorough, now).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Verifications that nobody works on any more, as after a crash, are ABORTED.
    pub async fn interrupt_verifications(&self, detail: &str) -> Result<u64, CatalogError> {
        let changed = sqlx::query(
            "UPDATE verification SET status = 'ABORTED', ended_at = $1, detail = $2
             WHERE status IN ('QUEUED', 'RUNNING')",
        )
        .bind(self.now().as_micros())
        .bind(detail)
        .execute(self.database().write())
        .await?;
        Ok(changed.rows_affected())
    }

    /// How many savesets of each site are known to be damaged; all sites.
    pub async fn damaged_savesets(&self) -> Result<Vec<(SiteId, u64)>, CatalogError> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT site.site_id, (SELECT count(*) FROM saveset
                 WHERE saveset.site_id = site.site_id AND damaged_at IS NOT NULL
                   AND deleted_at IS NULL)
             FROM site ORDER BY site.site_id",
        )
        .fetch_all(self.database().read())
        .await?;
        rows.into_iter()
            .map(|(site, count)| Ok((crate::stored::site_from(&site)?, as_u64(count))))
            .collect()
    }
}

/// A saveset that was found damaged stays so until a verification that looked as closely finds it
/// sound: as after its vault was mended from a copy.
pub(crate) async fn remember(
    tx: &mut Connection,
    site: &SiteId,
    saveset: SavesetId,
    status: VerificationStatus,
    thorough: bool,
    now: i64,
) -> Result<(), CatalogError> {
    let change = match status {
        VerificationStatus::Failed => sqlx::query(
            "UPDATE saveset
             SET damaged_thorough = COALESCE(damaged_thorough, FALSE) OR $1,
                 damaged_at = COALESCE(damaged_at, $2)
             WHERE site_id = $3 AND saveset_id = $4",
        )
        .bind(thorough)
        .bind(now),
        VerificationStatus::Successful => sqlx::query(
            "UPDATE saveset SET damaged_at = $1, damaged_thorough = NULL
             WHERE (damaged_thorough IS NOT TRUE OR $2) AND site_id = $3 AND saveset_id = $4",
        )
        .bind(None::<i64>)
        .bind(thorough),
        _ => return Ok(()),
    };
    change
        .bind(site.as_str())
        .bind(saveset.get())
        .execute(tx)
        .await?;
    Ok(())
}
