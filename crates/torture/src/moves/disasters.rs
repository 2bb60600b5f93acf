//! What happens to servers: copies of volumes, lost summaries, other settings.

use crate::{Rig, Trouble, World};

impl World {
    pub(super) fn keep_volume(&mut self) -> Result<(), Trouble> {
        // A crash leaves work for the recovery, and loses what was not waited for.
        match self.dice.chance(50) {
            true => self.restart(Rig::keep_volume)?,
            false => self.crash(Rig::keep_volume)?,
        }
        self.kept = true;
        Ok(())
    }

    pub(super) async fn set_back(&mut self, promote: bool) -> Result<(), Trouble> {
        if !self.kept {
            return self.keep_volume();
        }
        self.restart(|rig| {
            rig.set_volume_back()?;
            match promote {
                true => rig.promote(),
                false => Ok(()),
            }
        })?;
        if !self.planned.is_empty() {
            return Ok(());
        }
        // It goes on as if nothing had happened, often beyond where it was.
        for _ in 0..self.dice.between(0, 4) {
            match self.dice.below(4) {
                0 => self.insert().await,
                1 => self.hold_a_write().await,
                2 => self.say_one("CHECKPOINT").await,
                _ => self.update(false).await,
            }
        }
        if self.dice.chance(50) {
            self.catch_up().await;
        }
        Ok(())
    }

    pub(super) async fn power_cut(&mut self) -> Result<(), Trouble> {
        if !self.kept {
            return self.keep_volume();
        }
        self.crash(Rig::cut_power)?;
        for _ in 0..self.dice.between(1, 3) {
            self.update(false).await;
        }
        self.catch_up().await;
        Ok(())
    }

    pub(super) async fn catch_up(&mut self) {
        let megabytes = self.dice.between(1, 4);
        for _ in 0..megabytes {
            self.filler(1_000_000).await;
        }
    }

    /// So many bytes of WAL that are about nothing and belong to no transaction.
    pub(super) async fn filler(&mut self, bytes: usize) {
        let hand = self.free();
        let messages = bytes / 10_000;
        let filler = format!(
            "SELECT count(pg_logical_emit_message(false, 'filler', repeat('x', 10000)))
             FROM generate_series(1, {messages})"
        );
        self.say(hand, &filler).await;
    }

    pub(super) fn remove_summaries(&mut self) -> Result<(), Trouble> {
        let (newest, of) = (self.dice.below(3), *self.dice.pick(&[1, 1, 2, 1000]));
        let removed = self.rig.remove_summaries(newest, of)?;
        self.tell(format!(
            "{removed} summaries are removed, all but the newest {newest}"
        ));
        Ok(())
    }

    pub(super) async fn minimal(&mut self) -> Result<(), Trouble> {
        let minimal = [
            ("wal_level", "minimal"),
            ("max_wal_senders", "0"),
            ("summarize_wal", "off"),
        ];
        self.restart(|rig| rig.settle(&minimal))?;
        for _ in 0..self.dice.between(1, 3) {
            match self.dice.below(4) {
                0 => self.refill().await,
                1 => self.rewrite().await,
                2 => self.insert().await,
                _ => self.update(false).await,
            }
        }
        let usual = [
            ("wal_level", "replica"),
            ("max_wal_senders", "10"),
            ("summarize_wal", "on"),
        ];
        match self.dice.chance(50) {
            true => self.restart(|rig| rig.settle(&usual)),
            false => self.crash(|rig| rig.settle(&usual)),
        }
    }

    pub(super) async fn unsummarized(&mut self) -> Result<(), Trouble> {
        self.restart(|rig| rig.settle(&[("summarize_wal", "off")]))?;
        for _ in 0..self.dice.between(1, 3) {
            self.update(false).await;
        }
        self.restart(|rig| rig.settle(&[("summarize_wal", "on")]))
    }
}
