//! Where the window of the next backup begins, and where this one's ends.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use model::{Beat, Fault};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::types::PgLsn;

use crate::connect::Endpoint;
use crate::error::PostgresError;
use crate::inventory::Oid;
use crate::session::Session;
use crate::snapshot::Wanted;

use super::beat::{Checkpoint, HeartBeat};
use super::decide::Delta;
use super::history::other_history;
use super::rules::Rule;
use super::summaries::{self, Changes, Stretch};
use super::wal::{Boundary, Lsn, Means, WalWindow, insert_position};

/// How long open transactions are waited for where nothing else is set.
pub(crate) const TRANSACTION_PATIENCE: Duration = Duration::from_secs(10);

/// A checkpoint before a window is worth its cost from so many bytes of WAL since the last one on: the
/// window reaches back to it.
const WORTH_A_CHECKPOINT: u64 = 16 << 20;

/// How long a checkpoint may take, and how long its summary is waited for.
const CHECKPOINT_LIMIT: Duration = Duration::from_secs(60);

/// How long the server's own checkpoint is waited for, where rows wait for it.
const OTHERS_CHECKPOINT_LIMIT: Duration = Duration::from_secs(30);

/// And where nobody does: it comes every five minutes where nothing else is set.
const READING_LIMIT: Duration = Duration::from_secs(3600);

/// How much longer it is waited for when all rows are read.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// How soon it is looked again, first and in the end.
const PERIOD: Duration = Duration::from_millis(20);
const LONG_PERIOD: Duration = Duration::from_secs(1);

/// The message that ends a window is up to so long.
const LONGEST_MESSAGE: u64 = 16 << 10;

/// An error as a sentence's end.
fn why(error: &PostgresError) -> String {
    let error: &dyn Fault = error;
    error.sentence()
}

/// What is found before the locks are taken: places that the next backup's window may begin at.
pub(crate) struct Opening {
    beats: Vec<HeartBeat>,
    /// Why there is no own one.
    lack: Option<String>,
    /// Whether the server has the means, as far as it was asked.
    hopeless: bool,
}

impl Opening {
    /// Notes such a place, and waits for those who wrote before it; not for long, and not in vain.
    pub(crate) async fn of(wanted: &Wanted) -> Opening {
        let patience = wanted.transaction_patience;
        let limit = CHECKPOINT_LIMIT + patience;
        let opening = timeout(limit, Self::open(wanted, patience)).await;
        match opening {
            Ok(Ok(opening)) => opening,
            Ok(Err(error)) => Self::without(why(&error)),
            Err(_) => Self::without(format!(
                "the server did not note its place in the WAL within {} s",
                limit.as_secs()
            )),
        }
    }

    async fn open(wanted: &Wanted, patience: Duration) -> Result<Opening, PostgresError> {
        let session = Session::open(&wanted.endpoint, &wanted.application_name).await?;
        let means = match Means::read(&session).await? {
            Ok(means) => means
                .lack()
                .map_or(Ok(means.clone()), |lack| Err(lack.into())),
            Err(lack) => Err(lack),
        };
        let opening = match means {
            Ok(means) => Self::with(&session, &means, patience).await?,
            Err(lack) => Opening {
                hopeless: true,
                ..Self::without(lack)
            },
        };
        session.close().await;
        Ok(opening)
    }

    fn without(lack: String) -> Opening {
        Opening {
            beats: Vec::new(),
            lack: Some(lack),
            hopeless: false,
        }
    }

    async fn with(
        session: &Session,
        means: &Means,
        patience: Duration,
    ) -> Result<Opening, PostgresError> {
        let mut last = Checkpoint::last(session).await?;
        if means.may_checkpoint && last.since >= WORTH_A_CHECKPOINT {
            session.run("CHECKPOINT", "writing a checkpoint").await?;
            last = Checkpoint::last(session).await?;
        }
        let beat = HeartBeat::take(session, means).await?;
        wait_for(session, beat.xid, patience).await?;
        Ok(Opening {
            beats: vec![HeartBeat::of_checkpoint(means, &last), beat],
            lack: None,
            hopeless: false,
        })
    }
}

/// Waits until a snapshot sees the end of every transaction before this one.
async fn wait_for(session: &Session, xid: u64, patience: Duration) -> Result<(), PostgresError> {
    let sql = include_str!("../../sql/in_the_way_17.sql");
    let doing = "waiting for open transactions";
    let (text, seconds) = (xid.to_string(), patience.as_secs_f64());
    let until = Instant::now() + patience;
    loop {
        let row = session.row(sql, &[&text, &seconds], doing).await?;
        let passed = xmin_of(row.get("xmin")).is_some_and(|xmin| xmin >= xid);
        if passed || row.get("in_vain") || Instant::now() >= until {
            return Ok(());
        }
        sleep(PERIOD).await;
    }
}

/// The oldest open transaction of a snapshot: `759` of `759:761:759`.
fn xmin_of(snapshot: &str) -> Option<u64> {
    snapshot.split(':').next()?.parse().ok()
}

/// What the end of a window is looked for with.
struct Search {
    endpoint: Endpoint,
    name: String,
    snapshot: String,
    opening: Opening,
    beats: Vec<Beat>,
    /// Of a DELTA: the base's window.
    base: Option<WalWindow>,
    /// Whether rows wait for it.
    awaited: bool,
    /// How much longer it should be waited for when all rows are read.
    last_wait: Arc<OnceLock<Duration>>,
    #[cfg(feature = "rules-out")]
    onlooker: Option<Arc<dyn crate::Onlooker>>,
}

/// The window's end.
struct End {
    session: Session,
    means: Means,
    /// E.
    end: Lsn,
    listed: Vec<Stretch>,
    /// Why the base lies on other WAL, if it does or if there is none.
    other_history: Option<String>,
    /// What the next backup needs.
    next: Result<WalWindow, String>,
}

/// The end of a window, which is looked for while other things are done. Dropping it gives up.
pub(crate) struct Window {
    state: State,
    last_wait: Arc<OnceLock<Duration>>,
}

enum State {
    Looking(JoinHandle<Result<End, String>>),
    Found(Box<Result<End, String>>),
}

impl Drop for Window {
    fn drop(&mut self) {
        if let State::Looking(task) = &self.state {
            task.abort();
        }
    }
}

impl Opening {
    /// The snapshot is there: begins to look for the window's end, on a connection of its own.
    pub(crate) fn follow(self, wanted: &Wanted, snapshot: &str) -> Window {
        let base = wanted.base.as_deref();
        let last_wait = Arc::new(OnceLock::new());
        let search = Search {
            endpoint: wanted.endpoint.clone(),
            name: wanted.application_name.clone(),
            snapshot: snapshot.to_owned(),
            opening: self,
            beats: wanted.beats.clone(),
            base: base.and_then(Delta::window),
            awaited: base.is_some(),
            last_wait: last_wait.clone(),
            #[cfg(feature = "rules-out")]
            onlooker: wanted.onlooker.clone(),
        };
        let task = tokio::spawn(search.run());
        Window {
            state: State::Looking(task),
            last_wait,
        }
    }
}

impl Window {
    async fn found(&mut self, patience: Option<Duration>) -> Result<&End, String> {
        if let State::Looking(task) = &mut self.state {
            let ended = match patience {
                Some(patience) => timeout(patience, &mut *task).await,
                None => Ok((&mut *task).await),
            };
            let found = match ended {
                Ok(Ok(found)) => found,
                Ok(Err(ended)) => Err(format!("the search for its end broke off: {ended}")),
                Err(_) => {
                    task.abort();
                    Err(
                        "no checkpoint came while the rows were read: the role may not CHECKPOINT"
                            .into(),
                    )
                }
            };
            self.state = State::Found(Box::new(found));
        }
        match &self.state {
            State::Found(found) => found.as_ref().as_ref().map_err(String::clone),
            State::Looking(_) => Err("the search for its end goes on".into()),
        }
    }

    /// What was written to these files of the database since `base`; or, as a sentence's end, why nobody
    /// can know.
    pub(super) async fn changes_since(
        &mut self,
        base: &WalWindow,
        database: Oid,
        files: &[Oid],
    ) -> Result<Changes, String> {
        let end = self.found(None).await?;
        if let Some(other) = &end.other_history {
            return Err(other.clone());
        }
        let joined = summaries::join(&end.listed, base.start, end.end);
        let joined = joined.map_err(|gap| format!("no WAL summary is there from {gap} on"))?;
        let timeline = end.means.timeline;
        let changes = summaries::changes(&end.session, timeline, &joined, database, files).await;
        // One that vanished since it was listed is an error of the server.
        changes.map_err(|error| why(&error))
    }

    /// What the next backup needs; or, as a sentence's end, why there is nothing.
    pub(crate) async fn next(mut self) -> Result<WalWindow, String> {
        let patience = self.last_wait.get().copied();
        self.found(Some(patience.unwrap_or(CHECKPOINT_LIMIT)))
            .await?;
        let nowhere = State::Found(Box::new(Err("it was asked for twice".into())));
        let State::Found(found) = std::mem::replace(&mut self.state, nowhere) else {
            return Err("the search for its end broke off".into());
        };
        let end = (*found)?;
        end.session.close().await;
        end.next
    }
}

impl Search {
    async fn run(self) -> Result<End, String> {
        if let Some(lack) = self.opening.lack.clone().filter(|_| self.opening.hopeless) {
            return Err(lack);
        }
        let opened = Session::open(&self.endpoint, &self.name).await;
        let session = opened.map_err(|e| why(&e))?;
        let means = Means::read(&session).await.map_err(|e| why(&e))??;
        if let Some(lack) = means.lack() {
            return Err(lack.into());
        }
        let (limit, last_wait) = match (means.may_checkpoint, self.awaited) {
            (true, _) => (CHECKPOINT_LIMIT, CHECKPOINT_LIMIT),
            (false, true) => (OTHERS_CHECKPOINT_LIMIT, LAST_WAIT),
            (false, false) => (READING_LIMIT, LAST_WAIT),
        };
        // Nobody else sets it.
        let _first = self.last_wait.set(last_wait);
        match timeout(limit, self.look(session, means)).await {
            Ok(found) => found,
            Err(_) => Err(format!(
                "the WAL was not summarized up to the snapshot within {} s",
                limit.as_secs()
            )),
        }
    }

    async fn look(&self, session: Session, means: Means) -> Result<End, String> {
        let looked = async {
            let end = match Rule::WindowEnd.holds() {
                true => self.reach_end(&session, &means).await?,
                false => summarized(&session).await?.1,
            };
            let listed = summaries::list(&session, means.timeline).await?;
            #[cfg(feature = "rules-out")]
            self.looked_on(crate::Step::SummariesListed).await;
            let boundary = match summaries::covering(&listed, end) {
                Some(stretch) => {
                    Some(summaries::boundary(&session, means.timeline, stretch).await?)
                }
                None => None,
            };
            let other_history = match &self.base {
                Some(base) => other_history(&session, &means, base, &listed).await?,
                None => Some("the base has no window".into()),
            };
            Ok((end, listed, boundary, other_history))
        };
        let (end, listed, boundary, other_history) =
            looked.await.map_err(|e: PostgresError| why(&e))?;
        let base = self.base.as_ref().filter(|_| other_history.is_none());
        let next = self.next(&means, end, boundary, base);
        Ok(End {
            session,
            means,
            end,
            listed,
            other_history,
            next,
        })
    }

    /// E: everything that the snapshot saw was written before it, is durable, and is summarized.
    async fn reach_end(&self, session: &Session, means: &Means) -> Result<Lsn, PostgresError> {
        let end = insert_position(session).await?;
        #[cfg(feature = "rules-out")]
        self.looked_on(crate::Step::EndNoted).await;
        make_durable(session, end).await?;
        #[cfg(feature = "rules-out")]
        self.looked_on(crate::Step::EndDurable).await;
        if means.may_checkpoint {
            session.run("CHECKPOINT", "writing a checkpoint").await?;
        }
        let mut period = PERIOD;
        loop {
            let (timeline, summarized) = summarized(session).await?;
            if timeline == i64::from(means.timeline) && summarized >= end {
                return Ok(end);
            }
            sleep(period).await;
            period = (period * 5 / 4).min(LONG_PERIOD);
        }
    }

    /// A test may look on here.
    #[cfg(feature = "rules-out")]
    async fn looked_on(&self, step: crate::Step) {
        if let Some(onlooker) = &self.onlooker {
            onlooker.at(step).await;
        }
    }

    /// `base` is one on the same history.
    fn next(
        &self,
        means: &Means,
        end: Lsn,
        boundary: Option<Boundary>,
        base: Option<&WalWindow>,
    ) -> Result<WalWindow, String> {
        let boundary = boundary.ok_or("the WAL summary of the snapshot vanished")?;
        let xmin = xmin_of(&self.snapshot).ok_or("the server named no snapshot")?;
        let given = self.beats.iter().filter_map(|beat| {
            // A beat of another version of Backstay may have another form: it is none of ours.
            serde_json::from_value::<HeartBeat>(beat.0.clone()).ok()
        });
        let beats = self.opening.beats.iter().cloned().chain(given);
        let start = start_of(beats, xmin, means, end, base).ok_or_else(|| {
            let open = "a transaction is open that is older than all that is known";
            self.opening.lack.clone().unwrap_or_else(|| open.into())
        })?;
        Ok(WalWindow {
            system: means.system.clone(),
            timeline: means.timeline,
            started: means.started.clone(),
            start,
            end,
            boundary,
        })
    }
}

/// The last place behind which everything was written that a snapshot with this `xmin` did not see. The
/// base's stays valid for ever on the same WAL, since `xmin` never goes back.
fn start_of(
    beats: impl Iterator<Item = HeartBeat>,
    xmin: u64,
    means: &Means,
    end: Lsn,
    base: Option<&WalWindow>,
) -> Option<Lsn> {
    let sealed = |beat: &HeartBeat| {
        base.is_some_and(|base| {
            beat.is_from(&base.system, base.timeline, &base.started) && beat.lsn < base.boundary.end
        })
    };
    let counts = |beat: &HeartBeat| beat.is_of(means) || sealed(beat) || !Rule::SealedBeats.holds();
    let passed = |beat: &HeartBeat| beat.xid <= xmin || !Rule::WindowStart.holds();
    beats
        .filter(|beat| beat.lsn <= end && counts(beat) && passed(beat))
        .map(|beat| beat.lsn)
        .chain(base.map(|base| base.start))
        .max()
}

/// Up to where the WAL is summarized.
async fn summarized(session: &Session) -> Result<(i64, Lsn), PostgresError> {
    let sql = "SELECT s.summarized_tli, s.summarized_lsn
                 FROM pg_catalog.pg_get_wal_summarizer_state() s";
    let doing = "waiting for WAL summaries";
    let row = session.row(sql, &[], doing).await?;
    Ok((row.get(0), row.get::<_, PgLsn>(1).into()))
}

/// No crash may take back what the snapshot saw: commits may be asynchronous.
async fn make_durable(session: &Session, end: Lsn) -> Result<(), PostgresError> {
    let doing = "making what the snapshot saw durable";
    // Of any length: where a server is set back and the same is done again, its WAL ends elsewhere.
    let length = RandomState::new().build_hasher().finish() % LONGEST_MESSAGE;
    let sql = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE;
         SET LOCAL synchronous_commit = local;
         SELECT pg_catalog.pg_logical_emit_message(true, 'backstay', pg_catalog.repeat('.', {length}));
         COMMIT"
    );
    session.run(&sql, doing).await?;
    let sql = "SELECT pg_catalog.pg_current_wal_flush_lsn()";
    let flushed: Lsn = session
        .row(sql, &[], doing)
        .await?
        .get::<_, PgLsn>(0)
        .into();
    match flushed >= end {
        true => Ok(()),
        false => Err(PostgresError::Protocol {
            doing: doing.into(),
            what: format!("a commit, and the WAL is written up to {flushed}, not {end}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means(started: &str) -> Means {
        Means {
            summarizes: true,
            minimal: false,
            fsync: true,
            standby: false,
            kept_seconds: 0,
            may_checkpoint: true,
            system: "7".into(),
            timeline: 1,
            started: started.into(),
        }
    }

    fn beat(lsn: u64, xid: u64, started: &str) -> HeartBeat {
        HeartBeat {
            lsn: Lsn::at(lsn),
            xid,
            started: started.into(),
            timeline: 1,
            system: "7".into(),
        }
    }

    fn base(start: u64, end: u64, started: &str) -> WalWindow {
        WalWindow {
            system: "7".into(),
            timeline: 1,
            started: started.into(),
            start: Lsn::at(start),
            end: Lsn::at(end),
            boundary: Boundary {
                start: Lsn::at(start),
                end: Lsn::at(end + 1),
                content: String::new(),
            },
        }
    }

    fn start(beats: &[HeartBeat], xmin: u64, base: Option<&WalWindow>) -> Option<Lsn> {
        let beats = beats.iter().cloned();
        start_of(beats, xmin, &means("now"), Lsn::at(1000), base)
    }

    #[test]
    fn a_window_begins_at_the_newest_beat_that_the_snapshot_has_passed() {
        let beats = [beat(10, 5, "now"), beat(30, 9, "now"), beat(20, 7, "now")];
        assert_eq!(start(&beats, 9, None), Some(Lsn::at(30)));
        assert_eq!(start(&beats, 8, None), Some(Lsn::at(20)));
        assert_eq!(start(&beats, 4, None), None);
        assert_eq!(
            start(&beats, 4, Some(&base(3, 9, "then"))),
            Some(Lsn::at(3))
        );
        // One that lies ahead of the WAL is of another one.
        assert_eq!(start(&[beat(1001, 1, "now")], 9, None), None);
    }

    #[test]
    fn a_beat_from_before_a_restart_counts_only_with_a_boundary_behind_it() {
        let old = [beat(50, 5, "then")];
        assert_eq!(start(&old, 9, None), None);
        assert_eq!(start(&old, 9, Some(&base(3, 40, "then"))), Some(Lsn::at(3)));
        assert_eq!(
            start(&old, 9, Some(&base(3, 60, "then"))),
            Some(Lsn::at(50))
        );
        // Whether a base that was taken later has the same WAL before it, nobody knows.
        assert_eq!(
            start(&old, 9, Some(&base(3, 60, "later"))),
            Some(Lsn::at(3))
        );
        let other = HeartBeat {
            system: "8".into(),
            ..beat(50, 5, "now")
        };
        assert_eq!(start(&[other], 9, None), None);
    }

    #[test]
    fn the_oldest_open_transaction_is_the_first_number_of_a_snapshot() {
        assert_eq!(xmin_of("759:761:759,760"), Some(759));
        assert_eq!(xmin_of("759:759:"), Some(759));
        assert_eq!(xmin_of(""), None);
    }
}
