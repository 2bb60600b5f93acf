//! The demo's story: protect, change, protect again, restore, check.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use model::{ObjectName, SelectedObject};
use serde_json::{Value, json};

use crate::cli::{chosen, site};
use crate::demo::check;
use crate::demo::shop;
use crate::demo::stage::{Place, Stage};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::output::{self, byte_count, number, text};
use crate::signals::StopSignals;
use crate::wait;

const SITE: &str = "shop";
const DATABASE: &str = "shop.db";
const RESTORED: &str = "shop-restored.db";
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// How the demo is wanted.
#[derive(Debug)]
pub struct Story {
    /// End after the story.
    pub once: bool,
    /// The port; `None`: the usual one, or a free one.
    pub port: Option<u16>,
    /// Keep everything there.
    pub keep: Option<PathBuf>,
}

impl Story {
    /// Tells it: every step through HTTP, with the line that does it by hand.
    ///
    /// # Errors
    /// When a step fails; the temporary directory goes all the same.
    pub async fn tell(self) -> Result<(), CommandError> {
        let place = Place::new(self.keep.as_deref())?;
        let told = self.play(&place).await;
        let closed = place.close();
        told.and(closed)
    }

    async fn play(&self, place: &Place) -> Result<(), CommandError> {
        // The server first: should its port be taken, nobody has waited for a database in vain.
        let mut signals = StopSignals::listen()?;
        let mut stage = Stage::open(place, self.port).await?;
        let told = tokio::select! {
            told = act(&stage, place) => told,
            () = signals.next() => Err(CommandError::Failed("stopped by a signal".to_owned())),
        };
        if told.is_ok() && !self.once {
            paragraph("The server stays up until Ctrl-C.")?;
            tokio::select! {
                ended = stage.server.ended() => ended?,
                () = signals.next() => {}
            }
        }
        let stopped = stage.server.stop(STOP_LIMIT).await;
        told?;
        Ok(stopped?)
    }
}

/// Writes text and an empty line.
fn paragraph(text: &str) -> Result<(), CommandError> {
    output::say(&format!("{}\n\n", text.trim_end()))
}

async fn act(stage: &Stage, place: &Place) -> Result<(), CommandError> {
    make_shop(place).await?;
    open_site(stage, place).await?;
    let job = make_job(stage).await?;
    let first = back_up(stage, &job, "3. The first backup").await?;
    change_shop(place).await?;
    let second = back_up(stage, &job, "5. The second backup").await?;
    restore(stage, &job, &second).await?;
    check_restored(place).await?;
    look_around(stage, &job, &first, &second)
}

async fn make_shop(place: &Place) -> Result<(), CommandError> {
    let started = Instant::now();
    let file = place.databases().join(DATABASE);
    let made = on_a_thread(move || shop::make(&file)).await?;
    paragraph(&format!(
        "A sample shop: {made}, made in {:.1} s.\n   {}\n",
        started.elapsed().as_secs_f64(),
        place.databases().join(DATABASE).display()
    ))
}

async fn open_site(stage: &Stage, place: &Place) -> Result<(), CommandError> {
    let body = json!({
        "site_id": SITE,
        "site_type": "SQLITE",
        "connection": { "path": place.databases() },
        "vault": { "url": site::vault_url(&place.vault().to_string_lossy())?, "options": {} },
    });
    let (answer, line) = stage.post(&["sites"], Some(&body)).await?;
    paragraph(&format!(
        "A server at {}. For the lines below:\n   TOKEN={}\n\n\
         1. A site: the directory of databases, and the encrypted vault for its savesets.\n   {line}\n   \
         Its recovery key opens the vault without this server: {}\n",
        stage.server.address(),
        stage.token(),
        text(&answer.body, "recovery_key")
    ))
}

async fn make_job(stage: &Stage) -> Result<String, CommandError> {
    let body = json!({
        "name": "nightly",
        "job_type": "BACKUP",
        "job_settings": { "objects": chosen::as_json(&[SelectedObject::whole_database(ObjectName::one(DATABASE))]) },
    });
    let (answer, line) = stage.post(&["sites", SITE, "jobs"], Some(&body)).await?;
    let job = answer.resource_id.unwrap_or_default();
    paragraph(&format!(
        "2. A job that backs up {DATABASE}: job {job}.\n   {line}\n"
    ))?;
    Ok(job)
}

async fn back_up(stage: &Stage, job: &str, title: &str) -> Result<Value, CommandError> {
    let (answer, line) = stage
        .post(&["sites", SITE, "jobs", job, "execute"], None)
        .await?;
    let ended = ended_well(stage, &answer.resource_id.unwrap_or_default()).await?;
    paragraph(&format!(
        "{title}: {} read, {} new in the vault, saveset {}.\n   {line}\n",
        byte_count(number(&ended, "bytes_read")),
        byte_count(number(&ended, "bytes_stored")),
        text(&ended, "saveset_id"),
    ))?;
    Ok(ended)
}

async fn change_shop(place: &Place) -> Result<(), CommandError> {
    let file = place.databases().join(DATABASE);
    let changed = on_a_thread(move || shop::change(&file)).await?;
    paragraph(&format!("4. A day in the shop: {changed}.\n"))
}

async fn restore(stage: &Stage, job: &str, backup: &Value) -> Result<(), CommandError> {
    let execution = text(backup, "execution_id");
    let body = json!({
        "name": "a copy of the shop",
        "target_site": SITE,
        "job_settings": {
            "objects": chosen::as_json(&[SelectedObject::whole_database(ObjectName::one(DATABASE))]),
            "restore_to_a_different_database_on_target_site": RESTORED,
        },
    });
    let path = [
        "sites",
        SITE,
        "jobs",
        job,
        "executions",
        &execution,
        "restores",
    ];
    let (answer, line) = stage.post(&path, Some(&body)).await?;
    let ended = ended_well(stage, &answer.resource_id.unwrap_or_default()).await?;
    paragraph(&format!(
        "6. The second saveset restored as {RESTORED}: {} read.\n   {line}\n",
        byte_count(number(&ended, "bytes_read")),
    ))
}

async fn check_restored(place: &Place) -> Result<(), CommandError> {
    let live = place.databases().join(DATABASE);
    let restored = place.databases().join(RESTORED);
    let checked = on_a_thread(move || check::equal(&live, &restored)).await?;
    paragraph(&format!("7. Checked: {checked}.\n"))
}

fn look_around(
    stage: &Stage,
    job: &str,
    first: &Value,
    second: &Value,
) -> Result<(), CommandError> {
    let objects = [
        "sites",
        SITE,
        "jobs",
        job,
        "executions",
        &text(second, "execution_id"),
        "objects",
    ];
    paragraph(&format!(
        "Where to look:\n   {}\n   {}\n   {}\n   {}/docs\n\
         The first saveset, {}, is still there too: a restore of execution {} gives the shop before that day.\n",
        stage.get_line(&["sites", SITE, "executions"]),
        stage.get_line(&["sites", SITE, "savesets"]),
        stage.get_line(&objects),
        stage.server.address(),
        text(first, "saveset_id"),
        text(first, "execution_id"),
    ))
}

async fn ended_well(stage: &Stage, execution: &str) -> Result<Value, CommandError> {
    let ended = wait::quietly(stage.client(), SITE, execution).await?;
    match wait::exit_of(&ended)? {
        Exit::Done | Exit::Warnings => Ok(ended),
        _ => Err(CommandError::Failed(format!(
            "execution {execution} ended {}: {}",
            text(&ended, "status"),
            text(&ended, "status_detail")
        ))),
    }
}

/// SQLite's calls block: they stay off the runtime's threads.
async fn on_a_thread<T: Send + 'static, E: std::fmt::Display + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, CommandError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|e| CommandError::Sample(e.to_string())),
        Err(died) => Err(CommandError::Sample(died.to_string())),
    }
}
