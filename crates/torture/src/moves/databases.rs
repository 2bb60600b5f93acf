//! Databases are copied, swapped and moved: their tables keep their numbers, or get others.

use crate::world::DATABASE;
use crate::{Trouble, World};

impl World {
    pub(super) async fn swap_database(&mut self) -> Result<(), Trouble> {
        self.end_all_prepared().await;
        let old = format!("old{}", self.fresh());
        let how = *self.dice.pick(&["wal_log", "file_copy"]);
        let copy = format!("CREATE DATABASE copy TEMPLATE {DATABASE} STRATEGY {how}");
        if !self.maintained(&copy).await? {
            return Ok(());
        }
        if self.dice.chance(50) {
            // The copy misses this.
            self.update(false).await;
            self.insert().await;
        }
        let away = format!("ALTER DATABASE {DATABASE} RENAME TO {old}");
        let back = format!("ALTER DATABASE copy RENAME TO {DATABASE}");
        match self.maintained(&away).await? {
            true => self.maintain(&back).await,
            false => self.maintain("DROP DATABASE copy").await,
        }
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
