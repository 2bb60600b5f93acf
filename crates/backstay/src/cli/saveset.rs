//! `backstay saveset …`.

use clap::Subcommand;
use serde_json::{Value, json};

use crate::cli::verify::{VerifyArgs, damages, verified};
use crate::cli::{Context, job_id};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::output::{self, text};

#[derive(Debug, Subcommand)]
pub(crate) enum SavesetCommand {
    /// The savesets of a site, newest first
    List {
        /// The site's id
        site: String,
        /// Only those of this job: its id or name
        #[arg(long, value_name = "JOB")]
        job: Option<String>,
    },
    /// One saveset
    Show {
        /// The site's id
        site: String,
        /// The saveset's id
        saveset: String,
    },
    /// Protect a saveset from retention: it is kept until the protection is taken away
    Protect {
        /// The site's id
        site: String,
        /// The saveset's id
        saveset: String,
    },
    /// Take the protection away
    Unprotect {
        /// The site's id
        site: String,
        /// The saveset's id
        saveset: String,
    },
    /// Read every byte of a saveset and check it; fails when something is damaged
    Verify(VerifyArgs),
    /// Delete a saveset that is not protected
    Delete {
        /// The site's id
        site: String,
        /// The saveset's id
        saveset: String,
    },
}

impl SavesetCommand {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, CommandError> {
        let client = context.client()?;
        match self {
            SavesetCommand::List { site, job } => {
                let savesets = match job {
                    Some(job) => {
                        let job = job_id(&client, &site, &job).await?;
                        client
                            .all(&["sites", &site, "jobs", &job, "savesets"], &[])
                            .await?
                    }
                    None => client.all(&["sites", &site, "savesets"], &[]).await?,
                };
                context.output.show(&Value::Array(savesets), table)?;
            }
            SavesetCommand::Show { site, saveset } => {
                let answer = client
                    .get(&["sites", &site, "savesets", &saveset])
                    .send()
                    .await?;
                context.output.show(&answer.body, one)?;
            }
            SavesetCommand::Protect { site, saveset } => {
                retain(context, &site, &saveset, true).await?;
            }
            SavesetCommand::Unprotect { site, saveset } => {
                retain(context, &site, &saveset, false).await?;
            }
            SavesetCommand::Verify(args) => return args.run(context).await,
            SavesetCommand::Delete { site, saveset } => {
                client
                    .delete(&["sites", &site, "savesets", &saveset])
                    .send()
                    .await?;
                output::remark(&format!(
                    "Saveset {saveset} is deleted. What only it refers to leaves the vault in a day."
                ));
            }
        }
        Ok(Exit::Done)
    }
}

async fn retain(
    context: &Context,
    site: &str,
    saveset: &str,
    retained: bool,
) -> Result<(), CommandError> {
    let client = context.client()?;
    let answer = client
        .patch(&["sites", site, "savesets", saveset])
        .json(&json!({ "is_saveset_retained": retained }))
        .send()
        .await?;
    context.output.show(&answer.body, one)
}

fn table(savesets: &Value) -> String {
    output::table(
        savesets,
        "There is no saveset yet.",
        &[
            ("SAVESET", &|s| text(s, "saveset_id")),
            ("JOB", &|s| text(s, "job_id")),
            ("EXECUTION", &|s| text(s, "execution_id")),
            ("RUN", &|s| text(s, "run_type")),
            ("START", &|s| output::time(s, "start_time")),
            ("SIZE", &|s| output::bytes(s, "backup_set_size")),
            ("STORED", &|s| output::bytes(s, "bytes_stored")),
            ("PROTECTED", &|s| protected(s).to_owned()),
            ("VERIFIED", &|s| verified(s)),
        ],
    )
}

fn protected(saveset: &Value) -> &'static str {
    if saveset["is_saveset_retained"] == true {
        "yes"
    } else {
        "no"
    }
}

/// A saveset for people.
pub(crate) fn one(saveset: &Value) -> String {
    let mut shown = output::facts(&[
        ("Saveset", text(saveset, "saveset_id")),
        ("Job", text(saveset, "job_id")),
        ("Execution", text(saveset, "execution_id")),
        ("Run", text(saveset, "run_type")),
        ("Start", output::time(saveset, "start_time")),
        ("End", output::time(saveset, "end_time")),
        ("Size", output::bytes(saveset, "backup_set_size")),
        ("Stored", output::bytes(saveset, "bytes_stored")),
        ("Protected", protected(saveset).to_owned()),
        ("Verified", verified(saveset)),
        ("", text(&saveset["verification"], "detail")),
    ]);
    shown.push_str(&damages(&saveset["verification"]));
    shown
}
