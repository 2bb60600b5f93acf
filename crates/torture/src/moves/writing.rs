//! Rows come, change and go.

use crate::world::Table;
use crate::{Move, World};

impl World {
    pub(super) async fn insert(&mut self) {
        if let Some(table) = self.table().await {
            let hand = self.free();
            let rows = *self.dice.pick(&[1, 1, 3, 30, 200]);
            let sql = self.new_rows(&table, rows);
            self.say(hand, &sql).await;
        }
    }

    pub(super) async fn write_much(&mut self) {
        if let Some(table) = self.table().await {
            let (hand, sql) = (self.free(), self.new_rows(&table, 700));
            self.say(hand, &sql).await;
        }
    }

    pub(super) async fn update(&mut self, hot: bool) {
        if let Some(table) = self.table().await {
            let hand = self.free();
            let sql = self.changed_rows(&table, hot);
            self.say(hand, &sql).await;
        }
    }

    pub(super) async fn delete(&mut self) {
        if let Some(table) = self.table().await {
            let hand = self.free();
            let sql = format!(
                "DELETE FROM ONLY {} t WHERE {}",
                table.sql(),
                self.some(&table)
            );
            self.say(hand, &sql).await;
        }
    }

    /// A statement that changes a few rows. Where it is not HOT an indexed column gets a new number,
    /// and the row may go anywhere.
    pub(super) fn changed_rows(&mut self, table: &Table, hot: bool) -> String {
        let salt = self.dice.below(1_000_000);
        let others: Vec<(String, String)> = table
            .columns
            .iter()
            .filter(|(name, _)| name != "id" || !hot)
            .cloned()
            .collect();
        if others.is_empty() {
            return "SELECT 1".into();
        }
        let (name, kind) = self.dice.pick(&others).clone();
        let value = match (&*name, hot) {
            ("id", _) => format!("t.id + {}", 1_000_000 + salt),
            // As long as it was: there is room for it in its block.
            (_, true) if kind == "text" => {
                format!("overlay(t.\"{name}\" placing '{salt:06}' from 1)")
            }
            _ => match self.value(&kind, &name) {
                Some(value) => value,
                None => "NULL".into(),
            },
        };
        format!(
            "UPDATE ONLY {} t SET \"{name}\" = {value} FROM (SELECT {salt} AS g) AS one WHERE {}",
            table.sql(),
            self.some(table)
        )
    }

    /// A condition that a few rows meet: neighbours from somewhere in the table, or scattered ones.
    pub(super) fn some(&mut self, table: &Table) -> String {
        let (t, at) = (table.sql(), self.dice.below(1000));
        let few = match self.dice.below(6) {
            0..=2 => self.dice.between(1, 3),
            3 => 25,
            4 => 120,
            _ if table.has("id") => {
                return format!("t.id % {} = 0", self.dice.between(20, 200));
            }
            _ => 1,
        };
        format!(
            "t.ctid = ANY (ARRAY(SELECT ctid FROM ONLY {t} ORDER BY ctid
             OFFSET (SELECT count(*) * {at} / 1000 FROM ONLY {t}) LIMIT {few}))"
        )
    }

    pub(super) async fn rolled_back(&mut self) {
        if let Some(table) = self.table().await {
            let hand = self.free();
            let (new, changed) = (self.new_rows(&table, 20), self.changed_rows(&table, false));
            self.say(hand, &format!("BEGIN; {new}; {changed}; ROLLBACK"))
                .await;
        }
    }

    pub(super) async fn subtransactions(&mut self) {
        if let Some(table) = self.table().await {
            let hand = self.free();
            let mut sql = String::from("BEGIN;");
            for number in 0..self.dice.between(2, 5) {
                let inner = match self.dice.chance(50) {
                    true => self.new_rows(&table, 3),
                    false => self.changed_rows(&table, false),
                };
                let end = *self.dice.pick(&["RELEASE", "ROLLBACK TO"]);
                sql += &format!("SAVEPOINT s{number}; {inner}; {end} s{number};");
            }
            self.say(hand, &(sql + "COMMIT")).await;
        }
    }

    pub(super) async fn lock_rows(&mut self) {
        if let Some(table) = self.table().await {
            let how = *self
                .dice
                .pick(&["UPDATE", "SHARE", "NO KEY UPDATE", "KEY SHARE"]);
            let (hand, some) = (self.free(), self.some(&table));
            let lock = format!("SELECT FROM ONLY {} t WHERE {some} FOR {how}", table.sql());
            self.say(hand, &lock).await;
        }
    }

    pub(super) async fn toast(&mut self) {
        if let Some(table) = self.table().await.filter(|table| table.has("pad")) {
            let (hand, some, salt) = (self.free(), self.some(&table), self.dice.below(1_000_000));
            let sql = format!(
                "UPDATE ONLY {} t SET pad = (SELECT string_agg(md5((i + {salt})::text), '')
                 FROM generate_series(1, {}) i) WHERE {some} AND id % 5 = 0",
                table.sql(),
                self.dice.between(80, 400)
            );
            self.say(hand, &sql).await;
        }
    }

    pub(super) async fn large_object(&mut self) {
        let hand = self.free();
        let salt = self.dice.below(1_000_000);
        let bytes = format!(
            "decode(repeat(md5('{salt}'), {}), 'hex')",
            self.dice.between(1, 400)
        );
        let sql = match self.dice.below(4) {
            0 | 1 => format!("SELECT lo_from_bytea(0, {bytes})"),
            2 => format!(
                "SELECT lo_put(oid, {}, {bytes}) FROM (SELECT oid FROM pg_largeobject_metadata
                 ORDER BY oid LIMIT 1) AS one",
                self.dice.below(5000)
            ),
            _ => "SELECT lo_unlink(oid) FROM (SELECT oid FROM pg_largeobject_metadata
                  ORDER BY oid LIMIT 1) AS one"
                .into(),
        };
        self.say(hand, &sql).await;
    }

    pub(super) async fn hold_a_write(&mut self) {
        if let Some(table) = self.table().await {
            let hand = self.holder();
            if self.begin(hand).await {
                self.write_in(hand, &table).await;
                // A summary ends there: what was written before lies in an earlier one.
                if self.dice.chance(50) {
                    self.planned.push_back(Move::Checkpoint);
                }
            }
        }
    }

    pub(super) async fn write_more(&mut self) {
        if let (Some(hand), Some(table)) = (self.held(), self.table().await) {
            self.write_in(hand, &table).await;
        }
    }

    async fn write_in(&mut self, hand: usize, table: &Table) {
        let statement = match self.dice.below(4) {
            0 => {
                let rows = *self.dice.pick(&[1, 20, 100]);
                self.new_rows(table, rows)
            }
            1 => format!(
                "DELETE FROM ONLY {} t WHERE {}",
                table.sql(),
                self.some(table)
            ),
            _ => self.changed_rows(table, false),
        };
        let sql = match self.dice.chance(25) {
            true => format!("SAVEPOINT s; {statement}"),
            false => statement,
        };
        self.say(hand, &sql).await;
    }

    pub(super) async fn let_one_go(&mut self) {
        if let Some(hand) = self.held() {
            let how = *self.dice.pick(&["COMMIT", "COMMIT", "COMMIT", "ROLLBACK"]);
            self.end(hand, how).await;
        }
    }

    pub(super) async fn prepare(&mut self) {
        if let Some(hand) = self.held() {
            let name = self.fresh();
            self.end(hand, &format!("PREPARE TRANSACTION 'p{name}'"))
                .await;
        }
    }

    pub(super) async fn end_prepared(&mut self) {
        let prepared = self
            .ask("SELECT gid FROM pg_prepared_xacts ORDER BY gid")
            .await;
        if !prepared.is_empty() {
            let gid = self.dice.pick(&prepared).clone();
            let how = *self.dice.pick(&["COMMIT", "COMMIT", "ROLLBACK"]);
            let hand = self.free();
            self.say(hand, &format!("{how} PREPARED '{gid}'")).await;
        }
    }

    /// Nobody has an open transaction any more.
    pub(super) async fn end_all(&mut self) {
        while let Some(hand) = self.held() {
            self.end(hand, "COMMIT").await;
        }
        self.end_all_prepared().await;
    }

    pub(super) async fn end_all_prepared(&mut self) {
        for _ in self.ask("SELECT gid FROM pg_prepared_xacts").await {
            self.end_prepared().await;
        }
    }

    pub(super) async fn look(&mut self) {
        if let Some(table) = self.table().await {
            let hand = self.free();
            self.say(hand, &format!("SELECT count(*) FROM ONLY {}", table.sql()))
                .await;
        }
    }
}
