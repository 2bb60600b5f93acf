//! The rules that keep a delta from losing rows, by name, so that tests can take one out and see that
//! rows are lost without it. The product holds all of them: the switch is not compiled into it.

use std::fmt;
use std::str::FromStr;

/// A rule without which a delta may lose rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// A window begins where everything was written later that the base's snapshot did not see. Out: it
    /// begins at the newest beat, whoever was still writing.
    WindowStart,
    /// The transaction of a beat is durable, so that a crash never gives its number out again. Out: a
    /// number is taken and nothing is written.
    DurableBeats,
    /// A beat from before the server's present start counts only if the history between is known to be
    /// the same. Out: each counts.
    SealedBeats,
    /// A window ends behind what the snapshot saw, and that is durable and summarized. Out: it ends
    /// where the summaries happen to end.
    WindowEnd,
    /// Summaries join without a gap. Out: what is there is read.
    NoGaps,
    /// The base lies on the same WAL: server, timeline, and the summary that covered its snapshot. Out:
    /// every WAL is taken for the base's.
    SameHistory,
    /// Without fsync nothing is known after a crash. Out: it is trusted.
    Fsync,
    /// The database is the base's by its OID. Out: a name is enough.
    SameDatabase,
    /// A database that was made anew or moved within the window has nothing of the base's. Out: only its
    /// blocks count.
    DatabaseRemade,
    /// Tablespace and file of a table are the base's. Out: the base's file is
    /// looked up, whatever file the table has now.
    SameHeap,
    /// What was cut off within the window is gone, though the file may have grown again. Out: the base's
    /// rows stay.
    LimitBlocks,
    /// No row lies behind a table's end. Out: the base's rows stay.
    RelationEnd,
    /// The shape of the rows is the base's. Out: other columns, labels and defaults pass.
    SameShape,
    /// Unlogged tables are not in the WAL. Out: they are looked up there.
    Unlogged,
    /// Types that print names of other objects change without a block. Out: they are taken for data.
    Names,
}

impl Rule {
    /// All of them.
    pub const ALL: [Rule; 15] = [
        Rule::WindowStart,
        Rule::DurableBeats,
        Rule::SealedBeats,
        Rule::WindowEnd,
        Rule::NoGaps,
        Rule::SameHistory,
        Rule::Fsync,
        Rule::SameDatabase,
        Rule::DatabaseRemade,
        Rule::SameHeap,
        Rule::LimitBlocks,
        Rule::RelationEnd,
        Rule::SameShape,
        Rule::Unlogged,
        Rule::Names,
    ];

    /// Its name on a command line: `window-start`.
    pub fn name(self) -> &'static str {
        match self {
            Rule::WindowStart => "window-start",
            Rule::DurableBeats => "durable-beats",
            Rule::SealedBeats => "sealed-beats",
            Rule::WindowEnd => "window-end",
            Rule::NoGaps => "no-gaps",
            Rule::SameHistory => "same-history",
            Rule::Fsync => "fsync",
            Rule::SameDatabase => "same-database",
            Rule::DatabaseRemade => "database-remade",
            Rule::SameHeap => "same-heap",
            Rule::LimitBlocks => "limit-blocks",
            Rule::RelationEnd => "relation-end",
            Rule::SameShape => "same-shape",
            Rule::Unlogged => "unlogged",
            Rule::Names => "names",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Rule::ALL.into_iter().find(|rule| rule.name() == name);
        found.ok_or_else(|| {
            let names = Rule::ALL.map(Rule::name).join(", ");
            format!("{name:?} is no rule of the changed blocks; there are: {names}")
        })
    }
}

#[cfg(feature = "rules-out")]
static OUT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

#[cfg(feature = "rules-out")]
impl Rule {
    fn bit(self) -> u32 {
        1 << (self as u32)
    }

    /// Whether it is kept.
    pub(crate) fn holds(self) -> bool {
        OUT.load(std::sync::atomic::Ordering::Relaxed) & self.bit() == 0
    }
}

#[cfg(not(feature = "rules-out"))]
impl Rule {
    /// Whether it is kept: always.
    pub(crate) fn holds(self) -> bool {
        true
    }
}

/// From now on these rules are not kept by this process, and all others are.
#[cfg(feature = "rules-out")]
pub fn take_out(rules: &[Rule]) {
    let bits = rules.iter().fold(0, |bits, rule| bits | rule.bit());
    OUT.store(bits, std::sync::atomic::Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_found_by_its_name_and_an_unknown_one_is_answered_with_all() {
        for rule in Rule::ALL {
            assert_eq!(rule.to_string().parse(), Ok(rule));
            assert!(rule.holds());
        }
        let unknown = "windows".parse::<Rule>().unwrap_err();
        assert!(unknown.contains("window-start"), "{unknown}");
    }
}
