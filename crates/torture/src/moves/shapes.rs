//! What changes how rows are printed, and often touches no block.

use crate::World;
use crate::rows::quoted;

const LABELS: &str = "SELECT enumlabel::text FROM pg_enum
    WHERE enumtypid = 'public.mood'::regtype ORDER BY enumsortorder";

impl World {
    pub(super) async fn alter_columns(&mut self) {
        let Some(table) = self.table().await else {
            return;
        };
        let (hand, t, n) = (self.free(), table.sql(), self.fresh());
        let extra: Vec<String> = table
            .columns
            .iter()
            .map(|(name, _)| name.clone())
            .filter(|name| name.starts_with('c'))
            .collect();
        let sql = match (self.dice.below(6), extra.is_empty()) {
            (0 | 1, _) | (_, true) => {
                let kind = *self
                    .dice
                    .pick(&["int DEFAULT 7", "text DEFAULT 'seven'", "text"]);
                format!("ALTER TABLE {t} ADD COLUMN c{n} {kind}")
            }
            (2, _) => format!("ALTER TABLE {t} DROP COLUMN {}", self.dice.pick(&extra)),
            (3, _) => format!(
                "ALTER TABLE {t} RENAME COLUMN {} TO c{n}",
                self.dice.pick(&extra)
            ),
            (4, _) => format!(
                "ALTER TABLE {t} ALTER COLUMN {} TYPE varchar(90)",
                self.dice.pick(&extra)
            ),
            _ => format!(
                "ALTER TABLE {t} ALTER COLUMN {} SET DEFAULT NULL",
                self.dice.pick(&extra)
            ),
        };
        self.say(hand, &sql).await;
    }

    pub(super) async fn same_column(&mut self) {
        let Some(table) = self.table().await else {
            return;
        };
        let (hand, t, n) = (self.free(), table.sql(), self.fresh());
        let known = table.columns.iter().find(|(name, _)| name.starts_with('c'));
        let sql = match known {
            Some((name, kind)) => format!(
                "ALTER TABLE {t} DROP COLUMN {name}, ADD COLUMN {name} {kind} DEFAULT {}",
                if kind == "text" || kind.starts_with("char") {
                    format!("'new {n}'")
                } else {
                    n.to_string()
                }
            ),
            None => format!("ALTER TABLE {t} ADD COLUMN c{n} int DEFAULT {n}"),
        };
        self.say(hand, &sql).await;
    }

    pub(super) async fn rename_label(&mut self) {
        let labels = self.ask(LABELS).await;
        if labels.len() < 2 {
            return;
        }
        let (hand, n) = (self.free(), self.fresh());
        let from = self.dice.below(labels.len());
        let (one, other) = (&labels[from], &labels[(from + 1) % labels.len()]);
        let rename =
            |a: &str, b: &str| format!("ALTER TYPE public.mood RENAME VALUE '{a}' TO '{b}';");
        let sql = match self.dice.below(5) {
            0 => rename(one, &format!("l{n}")),
            1 => format!("ALTER TYPE public.mood ADD VALUE 'l{n}'"),
            _ => rename(one, "between") + &rename(other, one) + &rename("between", other),
        };
        self.say(hand, &sql).await;
    }

    pub(super) async fn alter_composite(&mut self) {
        const ATTRIBUTES: &str = "SELECT attname::text FROM pg_attribute WHERE attnum > 2
            AND attrelid = 'public.pair'::regclass AND NOT attisdropped ORDER BY attnum";
        let extra = self.ask(ATTRIBUTES).await;
        let (hand, n) = (self.free(), self.fresh());
        let alter = "ALTER TYPE public.pair";
        let sql = match (self.dice.below(4), extra.is_empty()) {
            (0, false) => format!("{alter} DROP ATTRIBUTE {}", self.dice.pick(&extra)),
            (1, false) => format!(
                "{alter} RENAME ATTRIBUTE {} TO e{n}",
                self.dice.pick(&extra)
            ),
            (2, _) => format!("ALTER TABLE a.first ADD COLUMN c{n} int"),
            _ => format!("{alter} ADD ATTRIBUTE e{n} int"),
        };
        self.say(hand, &sql).await;
    }

    pub(super) async fn rename_schema(&mut self) {
        let hand = self.free();
        // Two schemas swap their names: whatever is known by name is known wrongly.
        let swap = "BEGIN; ALTER SCHEMA a RENAME TO between; ALTER SCHEMA b RENAME TO a;
            ALTER SCHEMA between RENAME TO b; COMMIT";
        self.say(hand, swap).await;
    }

    pub(super) async fn rename_table(&mut self) {
        let (Some(one), Some(other)) = (self.table().await, self.table().await) else {
            return;
        };
        let hand = self.free();
        let elsewhere = if one.schema == "a" { "b" } else { "a" };
        let sql = match self.dice.chance(70) && one.schema == other.schema && one.name != other.name
        {
            true => format!(
                "BEGIN; ALTER TABLE {one_} RENAME TO between; ALTER TABLE {other_} RENAME TO {a};
                 ALTER TABLE {schema}.between RENAME TO {b}; COMMIT",
                one_ = one.sql(),
                other_ = other.sql(),
                schema = quoted(&one.schema),
                a = quoted(&one.name),
                b = quoted(&other.name),
            ),
            false => format!("ALTER TABLE {} SET SCHEMA {elsewhere}", one.sql()),
        };
        self.say(hand, &sql).await;
    }
}
