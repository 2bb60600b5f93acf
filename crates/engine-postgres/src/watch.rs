//! Watching, once a second, whom this run blocks and how old its snapshot is; and giving way.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::Progress;
use tokio::task::JoinHandle;

use crate::error::{PostgresError, tail_of};
use crate::session::Session;

/// Who waits less long is not worth a warning: it happens whenever locks are taken.
const WORTH_TELLING: f64 = 1.0;

/// How often it is looked.
const PERIOD: Duration = Duration::from_secs(1);

/// How much of somebody's query is shown.
const SHOWN_QUERY: usize = 200;

/// Limits of a run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    /// How long others may wait for our locks.
    pub yield_to_ddl: Option<Duration>,
    /// How old the snapshot may become.
    pub max_snapshot: Option<Duration>,
}

/// Why the watch ended the run.
#[derive(Debug, Clone)]
enum Reason {
    GaveWay { seconds: u64, waiting: String },
    TooOld { minutes: u64 },
    Lost,
}

/// Whose waiting counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// Everybody's.
    All,
    /// Only that of statements that keep readers out too: an offline run means to stop writers.
    Ddl,
}

/// What the watch has decided; every part of the run asks it when something fails.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    reason: Mutex<Option<Reason>>,
}

impl Watched {
    /// Why the run was ended, if the watch has ended it.
    pub(crate) fn reason(&self) -> Option<PostgresError> {
        let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        reason.clone().map(|reason| match reason {
            Reason::GaveWay { seconds, waiting } => PostgresError::GaveWay { seconds, waiting },
            Reason::TooOld { minutes } => PostgresError::SnapshotTooOld { minutes },
            Reason::Lost => PostgresError::Lost {
                doing: "holding the snapshot".into(),
            },
        })
    }

    fn decide(&self, reason: Reason) {
        let mut decided = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        decided.get_or_insert(reason);
    }
}

/// The sessions of a run.
#[derive(Debug, Clone)]
pub(crate) struct Sessions {
    /// The backends of those that we hold.
    pub pids: Vec<i32>,
    /// What pg_dump shows itself as: its backend is not known.
    pub dump_name: String,
    /// Whose waiting for them counts.
    pub counted: Counted,
}

/// The watch over one attempt; it ends when dropped.
pub(crate) struct Watch {
    task: JoinHandle<()>,
}

impl Watch {
    /// Watches with the session that holds locks and snapshot.
    pub(crate) fn start(
        session: Arc<Session>,
        run: Sessions,
        limits: Limits,
        progress: Arc<dyn Progress>,
        watched: Arc<Watched>,
    ) -> Watch {
        let watcher = Watcher {
            session,
            run,
            limits,
            progress,
            watched,
            begun: Instant::now(),
            told: BTreeSet::new(),
            told_of_writers: false,
        };
        Watch {
            task: tokio::spawn(watcher.run()),
        }
    }
}

impl Watch {
    /// Ends it, and waits until it has let go of the session.
    pub(crate) async fn end(mut self) {
        self.task.abort();
        // An aborted task ends at its next wait; that it was aborted is no news.
        let _aborted = (&mut self.task).await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Somebody who waits for us.
struct Waiter {
    pid: i32,
    seconds: f64,
    words: String,
    /// Whether readers stand behind it.
    ddl: bool,
}

struct Watcher {
    session: Arc<Session>,
    run: Sessions,
    limits: Limits,
    progress: Arc<dyn Progress>,
    watched: Arc<Watched>,
    begun: Instant,
    told: BTreeSet<(i32, String)>,
    told_of_writers: bool,
}

impl Watcher {
    async fn run(mut self) {
        loop {
            let pause = match self.look().await {
                Ok(None) => PERIOD,
                Ok(Some(pause)) => pause.min(PERIOD),
                Err(_) => {
                    // The session that holds the snapshot is gone: so is the run.
                    self.watched.decide(Reason::Lost);
                    return;
                }
            };
            if self.watched.reason().is_some() {
                self.end_the_run().await;
                return;
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Answers how soon it must be looked again, if sooner than usual.
    async fn look(&mut self) -> Result<Option<Duration>, PostgresError> {
        let mut waiters = self.waiters().await?;
        if self.run.counted == Counted::Ddl {
            self.tell_of_writers(&waiters);
            waiters.retain(|waiter| waiter.ddl);
        }
        for waiter in waiters.iter().filter(|w| w.seconds >= WORTH_TELLING) {
            if self.told.insert((waiter.pid, waiter.words.clone())) {
                self.progress
                    .warning(format!("waits for a lock of this run: {}", waiter.words));
            }
        }
        let mut soonest = None;
        if let (Some(limit), Some(longest)) = (self.limits.yield_to_ddl, waiters.first()) {
            let waited = Duration::try_from_secs_f64(longest.seconds).unwrap_or_default();
            match limit.checked_sub(waited).filter(|left| !left.is_zero()) {
                Some(left) => soonest = Some(left),
                None => self.watched.decide(Reason::GaveWay {
                    seconds: waited.as_secs(),
                    waiting: longest.words.clone(),
                }),
            }
        }
        if let Some(limit) = self.limits.max_snapshot {
            match limit.checked_sub(self.begun.elapsed()) {
                Some(left) => soonest = Some(soonest.map_or(left, |s: Duration| s.min(left))),
                None => self.watched.decide(Reason::TooOld {
                    minutes: limit.as_secs() / 60,
                }),
            }
        }
        Ok(soonest)
    }

    /// Once: that they wait is what was asked for.
    fn tell_of_writers(&mut self, waiters: &[Waiter]) {
        let mut writers = waiters.iter().filter(|waiter| !waiter.ddl);
        if let Some(first) = writers.next().filter(|_| !self.told_of_writers) {
            self.told_of_writers = true;
            self.progress.note(format!(
                "writers wait until this offline backup has read its tables; the first of them: {}",
                first.words
            ));
        }
    }

    async fn waiters(&self) -> Result<Vec<Waiter>, PostgresError> {
        let doing = "watching who waits for this run";
        // Inside a transaction the server shows the same picture of its sessions over and over.
        self.session
            .run("SELECT pg_catalog.pg_stat_clear_snapshot()", doing)
            .await?;
        let sql = include_str!("../sql/blocked_by_us_14.sql");
        let rows = self
            .session
            .rows(sql, &[&self.run.pids, &self.run.dump_name], doing)
            .await?;
        let waiters = rows.iter().map(|row| Waiter {
            pid: row.get(0),
            seconds: row.get(1),
            words: words(row.get(0), row.get(2), row.get(3), row.get(4)),
            ddl: row.get::<_, String>(5) == "AccessExclusiveLock",
        });
        Ok(waiters.collect())
    }

    /// Takes away all sessions of the run, and with them their locks; this one's last.
    async fn end_the_run(&self) {
        let doing = "giving way";
        let sql = include_str!("../sql/end_ours_14.sql");
        let ended = self
            .session
            .rows(sql, &[&self.run.pids, &self.run.dump_name], doing)
            .await;
        let given_back = self.session.run("ROLLBACK", doing).await;
        if let Err(error) = ended.map(drop).and(given_back) {
            tracing::warn!(%error, "the sessions of a run could not be ended; they end when it does");
        }
    }
}

/// A session in words: what `pg_stat_activity` shows of it, as far as the role may see it.
pub(crate) fn words(
    pid: i32,
    role: Option<String>,
    application: Option<String>,
    query: Option<String>,
) -> String {
    let mut text = format!("process {pid}");
    if let Some(role) = role {
        text.push_str(&format!(" of role {role}"));
    }
    if let Some(application) = application.filter(|name| !name.is_empty()) {
        text.push_str(&format!(" ({application})"));
    }
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        let query = query.split_whitespace().collect::<Vec<_>>().join(" ");
        let short: String = query.chars().take(SHOWN_QUERY).collect();
        text.push_str(&format!(": {}", tail_of(&short, SHOWN_QUERY)));
    }
    text
}
