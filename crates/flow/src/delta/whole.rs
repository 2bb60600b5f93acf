//! Which tables of a DELTA are read whole, and why: told in a few notes, however many they are.

use std::collections::BTreeMap;

use model::{Basis, ObjectName, Progress, SourcePlan};

/// So many reasons are told one by one.
const REASONS: usize = 8;

/// So many tables are named for each of them.
const NAMED: usize = 3;

/// Gathers over all databases of a run.
#[derive(Debug, Default)]
pub(crate) struct ReadWhole {
    tables: u64,
    by_reason: BTreeMap<String, Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    count: u64,
    named: Vec<String>,
}

impl ReadWhole {
    /// Counts the tables of a database whose base does not hold; without a basis none has one.
    pub(crate) fn look(&mut self, database: &ObjectName, plan: &SourcePlan) {
        self.tables += plan.tables.len() as u64;
        if plan.basis.is_empty() && !plan.tables.is_empty() {
            let why = "the base does not have the database";
            self.add(why, plan.tables.len() as u64, || database.to_string());
        }
        for (table, basis) in plan.tables.iter().zip(&plan.basis) {
            if let Basis::Nothing { why } = basis {
                self.add(why, 1, || match table.name == *database {
                    true => database.to_string(),
                    false => format!("{database}.{}", table.name),
                });
            }
        }
    }

    fn add(&mut self, why: &str, count: u64, name: impl FnOnce() -> String) {
        let tables = self.by_reason.entry(why.to_owned()).or_default();
        tables.count += count;
        if tables.named.len() < NAMED {
            tables.named.push(name());
        }
    }

    /// Tells of them, the reason with most tables first.
    pub(crate) fn tell(&self, progress: &dyn Progress) {
        let mut reasons: Vec<(&String, &Tables)> = self.by_reason.iter().collect();
        reasons.sort_by_key(|(_, tables)| std::cmp::Reverse(tables.count));
        let (told, rest) = reasons.split_at(reasons.len().min(REASONS));
        for (why, tables) in told {
            let more = match tables.count > tables.named.len() as u64 {
                true => ", …",
                false => "",
            };
            progress.note(format!(
                "{} of {} tables were read whole, because {why}: {}{more}",
                tables.count,
                self.tables,
                tables.named.join(", ")
            ));
        }
        let rest: u64 = rest.iter().map(|(_, tables)| tables.count).sum();
        if rest > 0 {
            progress.note(format!(
                "{rest} of {} tables were read whole for other reasons",
                self.tables
            ));
        }
    }
}
