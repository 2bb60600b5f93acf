//! Relations get other files, or shorter ones.

use crate::world::Table;
use crate::{Move, World};

impl World {
    pub(super) async fn vacuum(&mut self) {
        if let Some(table) = self.table().await {
            let how = *self.dice.pick(&[
                "",
                "",
                "(FREEZE)",
                "(ANALYZE)",
                "(TRUNCATE off)",
                "(DISABLE_PAGE_SKIPPING)",
                "(INDEX_CLEANUP off)",
            ]);
            let hand = self.free();
            self.say(hand, &format!("VACUUM {how} {}", table.sql()))
                .await;
        }
    }

    pub(super) async fn cut_the_tail(&mut self) {
        let Some(table) = self.table().await else {
            return;
        };
        // Whoever is older than the DELETE keeps its rows in their blocks.
        if self.dice.chance(80) {
            self.end_all().await;
        }
        let (hand, t) = (self.free(), table.sql());
        let share = self.dice.between(10, 95);
        // From a block on, all rows go.
        let doomed = format!(
            "DELETE FROM ONLY {t} WHERE ctid >= format('(%s,0)',
             pg_relation_size('{t}') * {share} / 100 / 8192)::tid"
        );
        let before = self.blocks(&t).await;
        self.say(hand, &doomed).await;
        self.say(hand, &format!("VACUUM (TRUNCATE) {t}")).await;
        let after = self.blocks(&t).await;
        match self.dice.below(5) {
            0 => {
                let rows = *self.dice.pick(&[1, 10, 100]);
                let sql = self.new_rows(&table, rows);
                self.say(hand, &sql).await;
            }
            1..=3 => {
                let rows = self.dice.between(20, 150);
                self.copy_in(hand, &table, rows).await;
            }
            _ => self.grow_for_nothing(&table).await,
        }
        let now = self.blocks(&t).await;
        self.tell(format!(
            "{t} had {before} blocks, then {after}, and now {now}"
        ));
    }

    /// A file grows at once, and a crash takes back what was written into it.
    async fn grow_for_nothing(&mut self, table: &Table) {
        let hand = self.holder();
        if self.begin(hand).await {
            let sql = self.new_rows(table, 500);
            self.say(hand, &sql).await;
            self.planned.push_front(Move::KillOne);
        }
    }

    async fn blocks(&mut self, t: &str) -> String {
        let size = format!("SELECT (pg_relation_size('{t}') / 8192)::text");
        self.ask(&size).await.join("")
    }

    pub(super) async fn rewrite(&mut self) {
        if let Some(table) = self.table().await {
            let (hand, t) = (self.free(), table.sql());
            let sql = match self.dice.below(3) {
                0 => format!(
                    "BEGIN; CREATE INDEX again ON {t} (id); CLUSTER {t} USING again;
                     DROP INDEX {}.again; COMMIT",
                    crate::rows::quoted(&table.schema)
                ),
                _ => format!("VACUUM FULL {t}"),
            };
            self.say(hand, &sql).await;
        }
    }

    pub(super) async fn truncate(&mut self) {
        if let Some(table) = self.table().await {
            let (hand, t) = (self.free(), table.sql());
            let sql = match self.dice.below(3) {
                0 => format!(
                    "BEGIN; TRUNCATE {t}; {}; ROLLBACK",
                    self.new_rows(&table, 40)
                ),
                1 => format!("TRUNCATE {t}"),
                _ => format!("BEGIN; SAVEPOINT s; TRUNCATE {t}; ROLLBACK TO s; COMMIT"),
            };
            self.say(hand, &sql).await;
        }
    }

    pub(super) async fn refill(&mut self) {
        if let Some(table) = self.table().await {
            let rows = *self.dice.pick(&[10, 300]);
            let (hand, sql) = (self.free(), self.refilled(&table, rows));
            self.say(hand, &sql).await;
        }
    }

    /// With `wal_level = minimal` the rows are not in the WAL.
    pub(super) fn refilled(&mut self, table: &Table, rows: usize) -> String {
        let new = self.new_rows(table, rows);
        format!("BEGIN; TRUNCATE {}; {new}; COMMIT", table.sql())
    }

    pub(super) async fn drop_and_make(&mut self) {
        if let Some(table) = self.table().await.filter(|table| table.name != "first") {
            let (hand, t) = (self.free(), table.sql());
            if self.say(hand, &format!("DROP TABLE {t}")).await {
                let rows = *self.dice.pick(&[0, 50, 400]);
                self.make_of("plain", &table.schema, &table.name, rows)
                    .await;
            }
        }
    }

    pub(super) async fn move_table(&mut self) {
        if let Some(table) = self.table().await {
            let (hand, t) = (self.free(), table.sql());
            let how = *self.dice.pick(&[
                "SET TABLESPACE aside",
                "SET TABLESPACE pg_default",
                "SET LOGGED",
                "SET UNLOGGED",
                "SET ACCESS METHOD other_heap",
                "SET ACCESS METHOD heap",
            ]);
            self.say(hand, &format!("ALTER TABLE {t} {how}")).await;
        }
    }

    pub(super) async fn partitions(&mut self) {
        const PAIRS: &str = "SELECT format('%I.%I %I.%I %s', pn.nspname, p.relname, n.nspname,
                c.relname, pg_get_expr(c.relpartbound, c.oid))
            FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            JOIN pg_class p ON p.oid = i.inhparent
            JOIN pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_namespace pn ON pn.oid = p.relnamespace
            WHERE c.relispartition AND c.relkind = 'r' ORDER BY 1";
        let pairs = self.ask(PAIRS).await;
        if pairs.is_empty() {
            self.make_table().await;
            return;
        }
        let pair = self.dice.pick(&pairs).clone();
        let mut words = pair.splitn(3, ' ');
        let (Some(parent), Some(leaf), Some(bound)) = (words.next(), words.next(), words.next())
        else {
            return;
        };
        let hand = self.free();
        let detach = format!("ALTER TABLE {parent} DETACH PARTITION {leaf}");
        let attach = format!("ALTER TABLE {parent} ATTACH PARTITION {leaf} {bound}");
        let sql = match self.dice.below(4) {
            0 => format!("BEGIN; {detach}; COMMIT"),
            1 => format!("BEGIN; {detach}; {attach}; COMMIT"),
            2 => format!("UPDATE {parent} SET id = 4000 - id WHERE id % 7 = 0"),
            _ => format!("UPDATE {parent} SET pad = 'moved' WHERE id % 11 = 0"),
        };
        self.say(hand, &sql).await;
    }
}
