//! Databases are copied, swapped and moved: their tables keep their numbers, or get others.

use crate::world::DATABASE;
use crate::{Trouble, World};

impl World {
    pub(super) async fn copy_database(&mut self) -> Result<(), Trouble> {
        self.end_all_prepared().await;
        if self.has_copy().await {
            self.maintain("DROP DATABASE copy").await?;
        }
        let how = *self.dice.pick(&["wal_log", "file_copy"]);
        let copy = format!("CREATE DATABASE copy TEMPLATE {DATABASE} STRATEGY {how}");
        self.maintained(&copy).await?;
        Ok(())
    }

    pub(super) async fn swap_database(&mut self) -> Result<(), Trouble> {
        self.end_all_prepared().await;
        if !self.has_copy().await {
            self.copy_database().await?;
            if self.dice.chance(50) {
                // The copy misses this.
                self.update(false).await;
                self.insert().await;
            }
        }
        if !self.has_copy().await {
            return Ok(());
        }
        let away = format!("ALTER DATABASE {DATABASE} RENAME TO between");
        if self.maintained(&away).await? {
            let here = format!("ALTER DATABASE copy RENAME TO {DATABASE}");
            self.maintain(&here).await?;
            self.maintain("ALTER DATABASE between RENAME TO copy")
                .await?;
        }
        Ok(())
    }

    async fn has_copy(&mut self) -> bool {
        let sql = "SELECT datname::text FROM pg_database WHERE datname = 'copy'";
        !self.ask(sql).await.is_empty()
    }

    pub(super) async fn move_database(&mut self) -> Result<(), Trouble> {
        self.end_all_prepared().await;
        let to = |place: &str| format!("ALTER DATABASE {DATABASE} SET TABLESPACE {place}");
        if self.maintained(&to("aside")).await? {
            if self.dice.chance(60) {
                self.update(false).await;
                self.insert().await;
            }
            if self.dice.chance(70) {
                self.maintained(&to("pg_default")).await?;
            }
        } else {
            self.maintained(&to("pg_default")).await?;
        }
        Ok(())
    }

    /// Whether it could be done: prepared transactions stand in the way of some.
    async fn maintained(&mut self, sql: &str) -> Result<bool, Trouble> {
        Ok(self.maintain(sql).await.is_ok())
    }
}
