//! `backstay saveset verify`: every byte of a saveset is read and checked.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::cli::Context;
use crate::cli::saveset::one;
use crate::client::{Client, ClientError};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::output::{self, byte_count, number, remark, text};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long a server may be away while we wait: a restart.
const AWAY_LIMIT: Duration = Duration::from_secs(60);
/// Where there is no bar, a line at least that often.
const LINE_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The site's id
    site: String,
    /// The saveset's id
    saveset: String,
    /// Also unpack every content and compare it with its hash
    #[arg(long)]
    thorough: bool,
    /// Do not wait for its end
    #[arg(long)]
    no_wait: bool,
}

impl VerifyArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, CommandError> {
        let client = context.client()?;
        client
            .post(&["sites", &self.site, "savesets", &self.saveset, "verify"])
            .json(&json!({ "method": "READ_ONLY", "thorough": self.thorough }))
            .send()
            .await?;
        if self.no_wait {
            remark(&format!(
                "Saveset {} is being verified; `backstay saveset show {} {}` tells how far it is.",
                self.saveset, self.site, self.saveset
            ));
            return Ok(Exit::Done);
        }
        let saveset = self.until_ended(&client).await?;
        context.output.show(&saveset, one)?;
        exit_of(&saveset["verification"])
    }

    async fn until_ended(&self, client: &Client) -> Result<Value, CommandError> {
        let mut shown = Shown::new(&self.saveset);
        let mut pause = FIRST_PAUSE;
        let mut away: Option<Instant> = None;
        loop {
            let path = ["sites", &self.site, "savesets", &self.saveset];
            match client.get(&path).send().await {
                Ok(answer) => {
                    away = None;
                    let verification = &answer.body["verification"];
                    if !matches!(status(verification), "QUEUED" | "RUNNING") {
                        return Ok(answer.body);
                    }
                    shown.update(verification);
                }
                Err(error) if error.may_pass() => {
                    let since = *away.get_or_insert_with(Instant::now);
                    if since.elapsed() > AWAY_LIMIT {
                        return Err(error.into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn status(verification: &Value) -> &str {
    verification["status"].as_str().unwrap_or_default()
}

/// What a verification that has ended means for a script.
fn exit_of(verification: &Value) -> Result<Exit, CommandError> {
    match status(verification) {
        "SUCCESSFUL" => Ok(Exit::Done),
        "FAILED" => Ok(Exit::Failed),
        "ABORTED" => Ok(Exit::Stopped),
        other => Err(CommandError::Client(ClientError::NotUnderstood {
            server: "that address".to_owned(),
            what: format!("{other:?} is no status of a verification"),
        })),
    }
}

/// `never`, `yes, 2026-01-31 02:00:10 (thorough)`, `DAMAGED, …`.
pub(crate) fn verified(saveset: &Value) -> String {
    let verification = &saveset["verification"];
    let when = output::time(verification, "end_time");
    let shown = match status(verification) {
        "" => return "never".to_owned(),
        "SUCCESSFUL" => format!("yes, {when}"),
        "FAILED" => return format!("DAMAGED, {when}"),
        "ABORTED" => format!("aborted, {when}"),
        other => other.to_lowercase(),
    };
    let thorough = match verification["thorough"] == true {
        true => " (thorough)",
        false => "",
    };
    // What an earlier one has found stands until one that looks as closely finds it sound.
    let before = match saveset["is_saveset_damaged"] == true {
        true => "; found DAMAGED before",
        false => "",
    };
    format!("{shown}{thorough}{before}")
}

/// What is damaged, a line each, with what it concerns.
pub(crate) fn damages(verification: &Value) -> String {
    let mut shown = String::new();
    let listed = verification["damaged"].as_array();
    for damage in listed.into_iter().flatten() {
        let frame = match damage["frame"].as_u64() {
            Some(frame) => format!(", frame {frame}"),
            None => String::new(),
        };
        shown.push_str(&format!(
            "\n{}{frame}: {}\n",
            text(damage, "object"),
            text(damage, "what")
        ));
        for concern in damage["concerns"].as_array().into_iter().flatten() {
            shown.push_str(&format!("  concerns {}\n", text(concern, "detail")));
        }
    }
    let listed = listed.map_or(0, |listed| listed.len() as u64);
    let all = number(verification, "damaged_count");
    if all > listed {
        shown.push_str(&format!("\nand {} more\n", all - listed));
    }
    output::plain(&shown)
}

/// How far it is: a bar on a terminal, plain lines elsewhere.
enum Shown {
    Bar(ProgressBar),
    Lines {
        saveset: String,
        at: Option<Instant>,
    },
}

impl Shown {
    fn new(saveset: &str) -> Shown {
        if !std::io::stderr().is_terminal() {
            return Shown::Lines {
                saveset: saveset.to_owned(),
                at: None,
            };
        }
        let bar = ProgressBar::new(0);
        let style = ProgressStyle::with_template("{bar:30} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Shown::Bar(bar)
    }

    fn update(&mut self, verification: &Value) {
        let (done, total) = (
            number(verification, "bytes"),
            number(verification, "bytes_total"),
        );
        let told = format!("{} of {}", byte_count(done), byte_count(total));
        match self {
            Shown::Bar(bar) => {
                bar.set_length(total.max(done));
                bar.set_position(done);
                bar.set_message(told);
            }
            Shown::Lines { saveset, at } => {
                if at.is_none_or(|at| at.elapsed() > LINE_EVERY) {
                    let status = status(verification);
                    remark(&format!("saveset {saveset}: {status}, {told} read"));
                    *at = Some(Instant::now());
                }
            }
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Shown::Bar(bar) = self {
            // The answer that follows says the same and more.
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damaged() -> Value {
        json!({
            "is_saveset_damaged": true,
            "verification": {
                "status": "FAILED", "thorough": true, "end_time": "2026-01-31T02:00:10.000000Z",
                "damaged_count": 3,
                "damaged": [{
                    "object": "packs/ab/00ab", "frame": 3, "what": "its seal is broken",
                    "concerns": [{"kind": "ROWS", "detail": "17 rows of public.orders in database shop"}]
                }]
            }
        })
    }

    #[test]
    fn what_is_damaged_is_named_with_its_rows() {
        let shown = damages(&damaged()["verification"]);
        assert!(
            shown.contains("packs/ab/00ab, frame 3: its seal is broken"),
            "{shown}"
        );
        assert!(shown.contains("17 rows of public.orders"), "{shown}");
        assert!(shown.contains("and 2 more"), "{shown}");
        assert!(verified(&damaged()).starts_with("DAMAGED, "));
        assert_eq!(exit_of(&damaged()["verification"]).unwrap(), Exit::Failed);
    }

    #[test]
    fn a_damage_that_was_found_before_is_not_forgotten() {
        let mut later = damaged();
        later["verification"]["status"] = json!("ABORTED");
        assert!(verified(&later).contains("found DAMAGED before"));
        assert_eq!(verified(&json!({ "verification": null })), "never");
    }
}
