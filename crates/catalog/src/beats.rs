//! Places in the history of a site's database system, which later deltas count from.

use std::time::Duration;

use model::{Beat, SiteId};

use crate::sites::site_record;
use crate::stored::{from_json, to_json};
use crate::{Catalog, CatalogError};

impl Catalog {
    /// Keeps a beat of a site, and of its earlier ones those that are no older than `keep`. One whose
    /// time lies ahead goes too: the clock was put back since, and it would else stay for too long. A
    /// beat less is never wrong.
    ///
    /// # Errors
    /// [`CatalogError::NoSite`].
    pub async fn keep_beat(
        &self,
        site: &SiteId,
        beat: &Beat,
        keep: Duration,
    ) -> Result<(), CatalogError> {
        let now = self.now();
        let mut tx = self.database().begin().await?;
        site_record(&mut tx, site).await?;
        let before: i64 =
            sqlx::query_scalar("SELECT COALESCE(max(number), 0) FROM beat WHERE site_id = $1")
                .bind(site.as_str())
                .fetch_one(&mut *tx)
                .await?;
        let oldest = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
        sqlx::query("DELETE FROM beat WHERE site_id = $1 AND (beat_at < $2 OR beat_at > $3)")
            .bind(site.as_str())
            .bind(now.as_micros().saturating_sub(oldest))
            .bind(now.as_micros())
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "INSERT INTO beat (site_id, number, beat_at, document) VALUES ($1, $2, $3, $4)",
        )
        .bind(site.as_str())
        .bind(before + 1)
        .bind(now.as_micros())
        .bind(to_json("a beat", beat)?)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// The beats of a site that are kept, oldest first.
    pub async fn beats(&self, site: &SiteId) -> Result<Vec<Beat>, CatalogError> {
        let documents: Vec<String> =
            sqlx::query_scalar("SELECT document FROM beat WHERE site_id = $1 ORDER BY number")
                .bind(site.as_str())
                .fetch_all(self.database().read())
                .await?;
        let beats = documents.iter().map(|text| from_json("a beat", text));
        beats.collect()
    }
}
