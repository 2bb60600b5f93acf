//! What a verification found, and whom it concerns.

use std::fmt;

use model::{BlockRange, Fault, ObjectName};
use serde::{Deserialize, Serialize};

use crate::VaultError;

/// A report lists as many damages one by one; what is beyond is counted.
pub(crate) const LISTED: usize = 1_000;

/// What a verification has looked at and found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Parts of dictionaries, and sheets.
    pub parts: u64,
    /// Segments and patches.
    pub segments: u64,
    /// Frames that were read.
    pub frames: u64,
    /// Bytes in the vault of these frames.
    pub bytes: u64,
    /// What is damaged or missing, at most a thousand of them, in the order of the saveset.
    pub damaged: Vec<Damage>,
    /// Damages that were found beyond these.
    pub unlisted: u64,
}

/// An object, or one frame of it, that is not what was written or not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// Its path in the vault.
    pub object: String,
    /// Which frame of it; `None`: the whole object.
    pub frame: Option<u32>,
    /// What is wrong with it.
    pub what: String,
    /// What cannot be read without it.
    pub concerns: Vec<Concern>,
}

/// Something that a damage concerns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Concern {
    /// All of the saveset.
    Saveset,
    /// A part of a database's dictionary.
    Part {
        /// The database.
        database: ObjectName,
        /// The part's name.
        name: String,
    },
    /// Rows of a table; they can be restored only where nothing of this is damaged.
    Rows {
        /// The database.
        database: ObjectName,
        /// The table.
        table: ObjectName,
        /// The blocks that they lie in, about.
        blocks: BlockRange,
        /// How many rows.
        rows: u64,
    },
}

impl VerifyReport {
    /// Whether nothing is damaged.
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty()
    }

    /// Notes that something concerns what is damaged.
    pub(crate) fn add(&mut self, found: Found, concern: Concern) {
        let known =
            |known: &&mut Damage| known.object == found.object && known.frame == found.frame;
        // What is damaged is met again soon or never: a lost pack, by the next segment.
        if let Some(known) = self.damaged.iter_mut().rev().take(100).find(known) {
            known.concern(concern);
        } else if self.damaged.len() < LISTED {
            self.damaged.push(Damage {
                object: found.object,
                frame: found.frame,
                what: found.what,
                concerns: vec![concern],
            });
        } else {
            self.unlisted += 1;
        }
    }
}

impl Damage {
    /// Rows of a table that is concerned already are added up.
    fn concern(&mut self, more: Concern) {
        for known in &mut self.concerns {
            if known.takes(&more) {
                return;
            }
        }
        self.concerns.push(more);
    }
}

impl Concern {
    fn takes(&mut self, more: &Concern) -> bool {
        match (self, more) {
            (
                Concern::Rows {
                    database,
                    table,
                    blocks,
                    rows,
                },
                Concern::Rows {
                    database: same_database,
                    table: same_table,
                    blocks: more_blocks,
                    rows: more_rows,
                },
            ) if database == same_database && table == same_table => {
                blocks.start = blocks.start.min(more_blocks.start);
                blocks.end = blocks.end.zip(more_blocks.end).map(|(a, b)| a.max(b));
                *rows += more_rows;
                true
            }
            (known, more) => known == more,
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.object)?;
        if let Some(frame) = self.frame {
            write!(f, ", frame {frame}")?;
        }
        write!(f, ": {}", self.what)?;
        for (place, concern) in self.concerns.iter().enumerate() {
            let joint = if place == 0 { "; it concerns" } else { "," };
            write!(f, "{joint} {concern}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Concern::Saveset => f.write_str("the whole saveset"),
            Concern::Part { database, name } => {
                write!(
                    f,
                    "the part {name} of the dictionary of database {database}"
                )
            }
            Concern::Rows {
                database,
                table,
                blocks,
                rows,
            } => write!(f, "{rows} rows of {table} in database {database}, {blocks}"),
        }
    }
}

/// Something damaged, before it is known whom it concerns.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) object: String,
    pub(crate) frame: Option<u32>,
    pub(crate) what: String,
}

impl Found {
    /// What an error says of the vault's content.
    ///
    /// # Errors
    /// The error itself when it says nothing of that: the store cannot be reached.
    pub(crate) fn by(error: VaultError) -> Result<Found, VaultError> {
        let (object, frame, what) = match error {
            VaultError::Missing { path } => (path, None, "it is missing".to_owned()),
            VaultError::Damaged { path, what } | VaultError::PinDamaged { path, what } => {
                (path, None, what)
            }
            VaultError::FrameDamaged { path, frame, what } => (path, Some(frame), what),
            // A version that no release has is most likely a flipped bit.
            VaultError::NewerFormat { ref path, .. } | VaultError::TooLarge { ref path, .. } => {
                (path.clone(), None, (&error as &dyn Fault).sentence())
            }
            other => return Err(other),
        };
        Ok(Found {
            object,
            frame,
            what,
        })
    }
}
