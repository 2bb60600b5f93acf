//! What happens in a history between and during backups.

mod databases;
mod disasters;
mod heaps;
mod making;
mod shapes;
mod writing;

use strum::{Display, EnumIter, EnumString, IntoEnumIterator};

use crate::{Trouble, World};

pub use making::furnish;

/// One step of a workload. Which table and which rows: the dice decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, EnumIter, EnumString)]
#[strum(serialize_all = "kebab-case")]
pub enum Move {
    /// New rows.
    Insert,
    /// Many new rows, whose commit nobody waits for.
    WriteMuch,
    /// A few rows change.
    Update,
    /// A few rows change in a column without an index.
    UpdateHot,
    /// A few rows go.
    Delete,
    /// Rows change, and the transaction does not commit.
    RolledBack,
    /// Subtransactions, some of them rolled back.
    Subtransactions,
    /// Rows are locked, by one session or two.
    LockRows,
    /// One value that is stored out of line changes.
    Toast,
    /// A large object is made, changed or removed.
    LargeObject,
    /// A transaction writes and stays open.
    HoldAWrite,
    /// An open transaction writes more.
    WriteMore,
    /// An open transaction ends.
    LetGo,
    /// An open transaction is prepared.
    Prepare,
    /// A prepared transaction ends.
    EndPrepared,
    /// VACUUM, in one of its forms.
    Vacuum,
    /// The last rows of a table go and VACUUM cuts it off; perhaps it grows again.
    CutTheTail,
    /// A sequential scan, which may set hint bits.
    Look,
    /// VACUUM FULL or CLUSTER.
    Rewrite,
    /// TRUNCATE, committed or not.
    Truncate,
    /// TRUNCATE and new rows in one transaction: without WAL where the server may.
    Refill,
    /// A table is dropped, and another one of its name made.
    DropAndMake,
    /// A new table.
    Make,
    /// To another tablespace, access method, or between LOGGED and UNLOGGED.
    Move,
    /// A column comes, goes, or gets another name or type.
    AlterColumns,
    /// A column goes, and one of the same name comes.
    SameColumn,
    /// A label of an enum gets another name, or two swap theirs.
    RenameLabel,
    /// A composite type gets, loses or renames an attribute.
    AlterComposite,
    /// A schema gets another name, or two swap theirs.
    RenameSchema,
    /// A table gets another name or schema, or two swap theirs.
    RenameTable,
    /// A partition is detached or attached, or rows move to another one.
    Partitions,
    /// A copy of the database is made beside it.
    CopyDatabase,
    /// The database and its copy swap their names.
    SwapDatabase,
    /// The database goes to another tablespace, and perhaps back.
    MoveDatabase,
    /// CHECKPOINT.
    Checkpoint,
    /// The WAL goes on in its next file.
    SwitchWal,
    /// A place in the WAL is noted for later backups, as a node does once a minute.
    Beat,
    /// WAL that is about nothing, so that the server passes places that were noted before.
    CatchUp,
    /// Less of it, in no transaction, and not yet written out.
    Filler,
    /// SIGKILL to all of the server.
    Crash,
    /// SIGKILL to one session, so that the server throws all of them out and recovers.
    KillOne,
    /// A beat of which a crash leaves nothing, and a transaction that writes where it was.
    LostBeat,
    /// A beat, a volume from before it, and a transaction that writes where it was.
    UndoneBeat,
    /// An orderly restart.
    Restart,
    /// The data directory is copied.
    KeepVolume,
    /// The copy of the data directory is put back.
    SetBack,
    /// The copy is put back, and begins a timeline of its own.
    Promote,
    /// The power fails with `fsync = off`: only some files are what they were.
    PowerCut,
    /// Summaries of the WAL are removed.
    RemoveSummaries,
    /// Several summaries of a time in which rows changed, and one of them is removed.
    MakeAGap,
    /// A stretch of `wal_level = minimal`.
    Minimal,
    /// A stretch without summaries of the WAL.
    Unsummarized,
}

/// What a history is about most: rare moves must not dilute each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, EnumIter, EnumString)]
#[strum(serialize_all = "kebab-case")]
pub enum Theme {
    /// Rows, and transactions that are held.
    Rows,
    /// Relations get other files, or shorter ones.
    Heaps,
    /// Types and columns.
    Shapes,
    /// Databases are copied, swapped and moved.
    Databases,
    /// Crashes.
    Crashes,
    /// A volume is set back.
    SetBack,
    /// Summaries are missing.
    Summaries,
    /// `fsync` is off, and the power fails.
    Unsafe,
    /// Beats of which nothing is left, and transactions that are open then.
    Beats,
}

impl Theme {
    /// Themes with how often they are thrown. Those that stop the server are slow.
    pub fn thrown() -> Vec<(Theme, usize)> {
        let weight = |theme| match theme {
            Theme::Rows => 30,
            Theme::Heaps => 22,
            Theme::Shapes => 14,
            Theme::Databases => 8,
            Theme::Crashes => 12,
            Theme::SetBack => 8,
            Theme::Summaries => 6,
            Theme::Unsafe => 2,
            Theme::Beats => 5,
        };
        Theme::iter().map(|theme| (theme, weight(theme))).collect()
    }

    /// Whether its server is of no use to other histories: files and WAL summaries do not fit each other.
    pub fn ruins_the_server(self) -> bool {
        self == Theme::Unsafe
    }

    /// How often each move is thrown in a history about this; between backups, or during one.
    pub fn moves(self, during: bool) -> Vec<(Move, usize)> {
        Move::iter()
            .map(|one| (one, self.weight(one, during)))
            .collect()
    }

    fn weight(self, one: Move, during: bool) -> usize {
        use Move as M;
        let is = |theme: Theme, yes: usize, no: usize| if self == theme { yes } else { no };
        match one {
            M::WriteMuch => 1,
            M::Insert | M::Update | M::UpdateHot => 8,
            M::Delete => 5,
            M::HoldAWrite => is(Theme::Rows, 9, 4),
            M::LetGo => is(Theme::Rows, 7, 4),
            M::WriteMore | M::Prepare | M::EndPrepared => is(Theme::Rows, 3, 2),
            M::RolledBack | M::Subtransactions | M::LockRows | M::Toast => is(Theme::Rows, 3, 1),
            M::LargeObject | M::Look => 1,
            M::Vacuum => is(Theme::Heaps, 5, 3),
            M::CutTheTail => is(Theme::Heaps, 12, 1),
            M::Checkpoint => 6,
            M::SwitchWal => 1,
            // Locks of the backup stand in the way of all others.
            M::Rewrite | M::Truncate | M::Refill if !during => is(Theme::Heaps, 5, 1),
            M::DropAndMake | M::Make | M::Move if !during => is(Theme::Heaps, 3, 1),
            M::AlterColumns => is(Theme::Shapes, if during { 1 } else { 6 }, 0),
            M::SameColumn if !during => is(Theme::Shapes, 5, 1),
            M::RenameLabel | M::AlterComposite => is(Theme::Shapes, if during { 1 } else { 6 }, 0),
            M::RenameSchema | M::RenameTable if !during => is(Theme::Shapes, 5, 1),
            M::Partitions if !during => is(Theme::Heaps, 3, 1),
            M::CopyDatabase if !during => is(Theme::Databases, 6, 0),
            M::SwapDatabase if !during => is(Theme::Databases, 12, 0),
            M::MoveDatabase if !during => is(Theme::Databases, 8, 0),
            M::Beat if !during => 3,
            M::CatchUp => 1,
            M::Crash => is(Theme::Crashes, if during { 1 } else { 6 }, 0),
            M::KillOne => is(Theme::Crashes, if during { 1 } else { 6 }, 0),
            M::LostBeat | M::UndoneBeat if !during && self == Theme::Beats => 25,
            M::LostBeat if !during => is(Theme::Crashes, 8, 0),
            M::UndoneBeat if !during => is(Theme::SetBack, 8, 0),
            M::Restart if !during => is(Theme::Crashes, 3, 0),
            M::KeepVolume if !during && self == Theme::Unsafe => 9,
            M::PowerCut if !during => is(Theme::Unsafe, 14, 0),
            M::KeepVolume if !during => is(Theme::SetBack, 9, 0),
            M::SetBack if !during => is(Theme::SetBack, 12, 0),
            M::Promote if !during => is(Theme::SetBack, 4, 0),
            M::RemoveSummaries => is(Theme::Summaries, if during { 10 } else { 8 }, 0),
            M::MakeAGap if !during => is(Theme::Summaries, 10, 0),
            M::Minimal | M::Unsummarized if !during => is(Theme::Summaries, 5, 0),
            _ => 0,
        }
    }
}

impl World {
    /// Makes a move.
    ///
    /// # Errors
    /// Where something fails that no other move explains.
    pub async fn play(&mut self, one: Move) -> Result<(), Trouble> {
        self.tell(format!("[{one}]"));
        match one {
            Move::Insert => self.insert().await,
            Move::WriteMuch => self.write_much().await,
            Move::Update => self.update(false).await,
            Move::UpdateHot => self.update(true).await,
            Move::Delete => self.delete().await,
            Move::RolledBack => self.rolled_back().await,
            Move::Subtransactions => self.subtransactions().await,
            Move::LockRows => self.lock_rows().await,
            Move::Toast => self.toast().await,
            Move::LargeObject => self.large_object().await,
            Move::HoldAWrite => self.hold_a_write().await,
            Move::WriteMore => self.write_more().await,
            Move::LetGo => self.let_one_go().await,
            Move::Prepare => self.prepare().await,
            Move::EndPrepared => self.end_prepared().await,
            Move::Vacuum => self.vacuum().await,
            Move::CutTheTail => self.cut_the_tail().await,
            Move::Look => self.look().await,
            Move::Rewrite => self.rewrite().await,
            Move::Truncate => self.truncate().await,
            Move::Refill => self.refill().await,
            Move::DropAndMake => self.drop_and_make().await,
            Move::Make => self.make_table().await,
            Move::Move => self.move_table().await,
            Move::AlterColumns => self.alter_columns().await,
            Move::SameColumn => self.same_column().await,
            Move::RenameLabel => self.rename_label().await,
            Move::AlterComposite => self.alter_composite().await,
            Move::RenameSchema => self.rename_schema().await,
            Move::RenameTable => self.rename_table().await,
            Move::Partitions => self.partitions().await,
            Move::CopyDatabase => self.copy_database().await?,
            Move::SwapDatabase => self.swap_database().await?,
            Move::MoveDatabase => self.move_database().await?,
            Move::Checkpoint => self.say_one("CHECKPOINT").await,
            Move::SwitchWal => self.say_one("SELECT pg_switch_wal()").await,
            Move::Beat => self.wants_beat = true,
            Move::CatchUp => self.catch_up().await,
            Move::Filler => self.filler(200_000).await,
            Move::Crash => self.crash(|_| Ok(()))?,
            Move::KillOne => self.kill_one().await?,
            Move::LostBeat => self.plan(&[
                Move::Filler,
                Move::Beat,
                Move::KillOne,
                Move::HoldAWrite,
                Move::Checkpoint,
                Move::CatchUp,
            ]),
            Move::UndoneBeat => self.plan(&[
                Move::KeepVolume,
                Move::Filler,
                Move::Beat,
                Move::SetBack,
                Move::HoldAWrite,
                Move::Checkpoint,
                Move::CatchUp,
            ]),
            Move::Restart => self.restart(|_| Ok(()))?,
            Move::KeepVolume => self.keep_volume()?,
            Move::SetBack => self.set_back(false).await?,
            Move::Promote => self.set_back(true).await?,
            Move::PowerCut => self.power_cut().await?,
            Move::RemoveSummaries => self.remove_summaries()?,
            Move::MakeAGap => self.plan(&[
                Move::Update,
                Move::Checkpoint,
                Move::Update,
                Move::Checkpoint,
                Move::RemoveSummaries,
            ]),
            Move::Minimal => self.minimal().await?,
            Move::Unsummarized => self.unsummarized().await?,
        }
        Ok(())
    }

    /// These moves come next.
    fn plan(&mut self, moves: &[Move]) {
        self.planned.extend(moves);
    }

    async fn say_one(&mut self, sql: &str) {
        let hand = self.free();
        self.say(hand, sql).await;
    }
}
