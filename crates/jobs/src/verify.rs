//! Verifying savesets: every byte that one refers to is read and checked, in the background, one
//! saveset at a time on this server. What it finds is kept on the saveset.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use catalog::{Concerned, DamagedObject, VerificationEnd, VerificationStatus};
use model::{Fault, SavesetId, SiteId};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use vault::{Concern, Damage, Depth, Vault, VaultError, VerifyReport};

use crate::{Inner, Jobs, JobsError, lock, words};

/// How often it is written down how far a verification is.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// So many damages are kept one by one; all are counted.
const KEPT: usize = 200;

const WAITS: &str = "Waits for its turn";

/// What the server says of verifications that a stop of it has ended.
pub(crate) const STOPPED: &str = "It was interrupted: the server stopped. Nothing is known; start it \
                                  again";

type Which = (SiteId, SavesetId);

/// The verifications of this server.
pub(crate) struct Verifications {
    at_work: std::sync::Mutex<HashMap<Which, Stop>>,
    tasks: std::sync::Mutex<JoinSet<()>>,
    /// One reads at a time: it would only slow the backups down.
    turn: Semaphore,
}

impl Default for Verifications {
    fn default() -> Self {
        Verifications {
            at_work: std::sync::Mutex::default(),
            tasks: std::sync::Mutex::default(),
            turn: Semaphore::new(1),
        }
    }
}

/// How a verification is told to stop, and why.
#[derive(Clone, Default)]
struct Stop {
    token: CancellationToken,
    why: Arc<std::sync::Mutex<&'static str>>,
}

impl Stop {
    fn because(&self, why: &'static str) {
        *lock(&self.why) = why;
        self.token.cancel();
    }
}

/// What a verification needs to know.
struct Task {
    site: SiteId,
    saveset: SavesetId,
    vault: Vault,
    thorough: bool,
    total: u64,
    done: AtomicU64,
}

impl Jobs {
    /// Begins to verify a saveset. How far it is, and what it found, is on the saveset.
    ///
    /// # Errors
    /// When there is no such site or saveset, one is being verified already, or the vault cannot be
    /// reached.
    pub async fn verify_saveset(
        &self,
        site: &SiteId,
        saveset: SavesetId,
        thorough: bool,
    ) -> Result<(), JobsError> {
        let inner = &self.inner;
        let record = inner.catalog.site(site).await?;
        let known = inner.catalog.saveset(site, saveset).await?;
        let vault = inner.vault(&record).await?;
        let begun = inner
            .catalog
            .begin_verification(site, saveset, thorough, WAITS);
        begun.await?;
        let task = Task {
            site: site.clone(),
            saveset,
            vault,
            thorough,
            total: known.backup_set_size,
            done: AtomicU64::new(0),
        };
        let stop = Stop::default();
        lock(&inner.verifications.at_work).insert((site.clone(), saveset), stop.clone());
        let mut tasks = lock(&inner.verifications.tasks);
        // Those that have ended are let go of.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(inner.clone().verify(task, stop));
        Ok(())
    }

    /// Stops all of them, and waits until each is written down.
    pub(crate) async fn stop_verifications(&self) {
        let verifications = &self.inner.verifications;
        for stop in lock(&verifications.at_work).values() {
            stop.because(STOPPED);
        }
        let mut tasks = std::mem::take(&mut *lock(&verifications.tasks));
        while tasks.join_next().await.is_some() {}
    }
}

impl Inner {
    /// Its saveset goes: there is nothing left to verify.
    pub(crate) fn stop_verification(&self, site: &SiteId, saveset: SavesetId) {
        let which = (site.clone(), saveset);
        if let Some(stop) = lock(&self.verifications.at_work).get(&which) {
            stop.because("It was stopped: the saveset was deleted");
        }
    }

    async fn verify(self: Arc<Self>, task: Task, stop: Stop) {
        let end = tokio::select! {
            biased;
            () = stop.token.cancelled() => {
                let why = *lock(&stop.why);
                task.ended(VerificationStatus::Aborted, why.to_owned())
            }
            end = self.read_all(&task) => end,
        };
        task.log(&end);
        let written = self.write_verification(&task, &end).await;
        lock(&self.verifications.at_work).remove(&(task.site.clone(), task.saveset));
        if let Err(error) = written {
            tracing::error!(site = %task.site, saveset = %task.saveset, "the end of a verification was not written: {error}");
        }
    }

    /// A full disk or a busy file passes.
    async fn write_verification(
        &self,
        task: &Task,
        end: &VerificationEnd,
    ) -> Result<(), catalog::CatalogError> {
        let mut pause = Duration::from_millis(200);
        loop {
            let written = self
                .catalog
                .end_verification(&task.site, task.saveset, end)
                .await;
            if written.is_ok() || pause > Duration::from_secs(10) {
                return written;
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    async fn read_all(&self, task: &Task) -> VerificationEnd {
        let Ok(_turn) = self.verifications.turn.acquire().await else {
            return task.ended(VerificationStatus::Aborted, STOPPED.to_owned());
        };
        let started = self.clock.now();
        // Before the first byte: a short one would else end without having begun.
        if let Some(why) = self.tell_once(task).await {
            return task.ended(VerificationStatus::Aborted, why);
        }
        let on_bytes = |bytes: u64| {
            task.done.fetch_add(bytes, Ordering::Relaxed);
        };
        let depth = match task.thorough {
            true => Depth::Decompress,
            false => Depth::Authenticate,
        };
        let read = task.vault.verify_saveset(task.saveset, depth, &on_bytes);
        let told = self.tell(task);
        let outcome = tokio::select! {
            outcome = read => outcome,
            why = told => return task.ended(VerificationStatus::Aborted, why),
        };
        let took = self.clock.now().since(started);
        match outcome {
            Ok(report) => task.judge(report, took),
            Err(error @ VaultError::NoSaveset { .. }) => task.lost(&error),
            Err(error) => {
                let fault: &dyn Fault = &error;
                let why = format!(
                    "It did not come to its end, so that nothing is known: {}",
                    fault.sentence()
                );
                task.ended(VerificationStatus::Aborted, why)
            }
        }
    }

    /// Writes down how far it is; ends only when nobody can read that any more.
    async fn tell(&self, task: &Task) -> String {
        loop {
            tokio::time::sleep(TELL_EVERY).await;
            if let Some(why) = self.tell_once(task).await {
                return why;
            }
        }
    }

    /// `Some`: why nobody can read it any more.
    async fn tell_once(&self, task: &Task) -> Option<String> {
        let (site, saveset) = (&task.site, task.saveset);
        let (detail, done) = (task.detail(), task.done.load(Ordering::Relaxed));
        let told = self
            .catalog
            .verification_progress(site, saveset, done, &detail)
            .await;
        match told {
            Ok(true) => None,
            Ok(false) => Some("Its site or its saveset was deleted".to_owned()),
            Err(error) => {
                tracing::error!(%site, %saveset, "how far a verification is was not written: {error}");
                None
            }
        }
    }
}

impl Task {
    fn detail(&self) -> String {
        let done = self.done.load(Ordering::Relaxed);
        format!(
            "{} of {} read",
            words::bytes(done),
            words::bytes(self.total)
        )
    }

    fn ended(&self, status: VerificationStatus, detail: String) -> VerificationEnd {
        VerificationEnd {
            status,
            bytes_done: self.done.load(Ordering::Relaxed),
            damaged: Vec::new(),
            damaged_count: 0,
            detail,
        }
    }

    fn judge(&self, report: VerifyReport, took: Duration) -> VerificationEnd {
        let read = format!(
            "{} in {} read in {}",
            words::bytes(report.bytes),
            words::count(report.frames, "frame"),
            words::duration(took)
        );
        if report.is_sound() {
            let checked = match self.thorough {
                true => "every content is what was written",
                false => "every seal is whole",
            };
            let end = self.ended(VerificationStatus::Successful, format!("{read}: {checked}"));
            return end;
        }
        let found = report.damaged.len() as u64 + report.unlisted;
        let damaged: Vec<_> = report.damaged.iter().take(KEPT).map(damaged).collect();
        VerificationEnd {
            damaged,
            damaged_count: found,
            ..self.ended(
                VerificationStatus::Failed,
                format!(
                    "{} damaged or missing; {read}",
                    words::count(found, "object or frame")
                ),
            )
        }
    }

    /// The catalog knows the saveset, and the vault has neither manifest nor tombstone.
    fn lost(&self, error: &VaultError) -> VerificationEnd {
        let object = DamagedObject {
            object: format!("manifests/{}", self.saveset),
            frame: None,
            what: "it is missing from the vault".to_owned(),
            concerns: vec![concerned(&Concern::Saveset)],
        };
        VerificationEnd {
            damaged: vec![object],
            damaged_count: 1,
            ..self.ended(VerificationStatus::Failed, error.to_string())
        }
    }

    fn log(&self, end: &VerificationEnd) {
        let (site, saveset, status) = (&self.site, self.saveset, end.status);
        let detail = words::one_line(&end.detail);
        if status != VerificationStatus::Failed {
            return tracing::info!(%site, %saveset, %status, "the saveset was verified: {detail}");
        }
        let first = end.damaged.first();
        let first = first.map_or_else(String::new, |found| {
            format!("; the first is {}: {}", found.object, found.what)
        });
        tracing::error!(%site, %saveset, %status, "the saveset is damaged: {detail}{first}");
    }
}

fn damaged(damage: &Damage) -> DamagedObject {
    DamagedObject {
        object: damage.object.clone(),
        frame: damage.frame,
        what: damage.what.clone(),
        concerns: damage.concerns.iter().map(concerned).collect(),
    }
}

fn concerned(concern: &Concern) -> Concerned {
    let (kind, database, name, rows) = match concern {
        Concern::Saveset => ("SAVESET", None, None, None),
        Concern::Part { database, name } => {
            ("DICTIONARY", Some(database), Some(name.clone()), None)
        }
        Concern::Rows {
            database,
            table,
            rows,
            ..
        } => ("ROWS", Some(database), Some(table.to_string()), Some(*rows)),
    };
    Concerned {
        kind: kind.to_owned(),
        database: database.map(|database| database.to_string()),
        name,
        rows,
        text: concern.to_string(),
    }
}
