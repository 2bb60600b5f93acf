//! Following an execution to its end: bars on a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use model::ExecutionStatus;
use serde_json::Value;

use crate::client::{Client, ClientError};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::output::{byte_count, number, remark, text};

/// Short runs end while one looks; long ones are not asked twenty times a second.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// What part of the time so far an end may stay unseen: a thirty-second.
const PART_UNSEEN: u32 = 32;
/// How long a server may be away while we wait: a restart.
const AWAY_LIMIT: Duration = Duration::from_secs(60);
/// Where there is no bar, a line at least that often.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Waits until an execution has ended; answers its last state.
///
/// # Errors
/// When the server refuses, or is away for longer than a restart takes.
pub async fn until_ended(
    client: &Client,
    site: &str,
    execution: &str,
) -> Result<Value, CommandError> {
    follow(client, site, execution, Shown::new(execution)).await
}

/// The same without a word about how it goes.
///
/// # Errors
/// As [`until_ended`].
pub async fn quietly(client: &Client, site: &str, execution: &str) -> Result<Value, CommandError> {
    follow(client, site, execution, Shown::Nothing).await
}

async fn follow(
    client: &Client,
    site: &str,
    execution: &str,
    mut shown: Shown,
) -> Result<Value, CommandError> {
    let begun = Instant::now();
    let mut away: Option<Instant> = None;
    loop {
        match client
            .get(&["sites", site, "executions", execution])
            .send()
            .await
        {
            Ok(answer) => {
                away = None;
                shown.update(&answer.body);
                if status(&answer.body)?.is_final() {
                    shown.end();
                    return Ok(answer.body);
                }
            }
            Err(error) if error.may_pass() => {
                let since = *away.get_or_insert_with(Instant::now);
                if since.elapsed() > AWAY_LIMIT {
                    shown.end();
                    return Err(error.into());
                }
            }
            Err(error) => {
                shown.end();
                return Err(error.into());
            }
        }
        tokio::time::sleep(pause_after(begun.elapsed())).await;
    }
}

/// Until the next look, after so long.
fn pause_after(waited: Duration) -> Duration {
    (waited / PART_UNSEEN).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}

/// The status of an execution.
///
/// # Errors
/// When it is none that we know.
pub fn status(execution: &Value) -> Result<ExecutionStatus, CommandError> {
    let status = text(execution, "status");
    status.parse().map_err(|_| {
        CommandError::Client(ClientError::NotUnderstood {
            server: "that address".to_owned(),
            what: format!("{status:?} is no status of an execution"),
        })
    })
}

/// What a script should know about an execution that ended.
///
/// # Errors
/// When its status is none that we know.
pub fn exit_of(execution: &Value) -> Result<Exit, CommandError> {
    Ok(Exit::of(status(execution)?))
}

enum Shown {
    Nothing,
    Bars {
        all: MultiProgress,
        status: ProgressBar,
        phases: BTreeMap<String, ProgressBar>,
    },
    Lines {
        execution: String,
        last: String,
        at: Instant,
    },
}

impl Shown {
    fn new(execution: &str) -> Shown {
        if !std::io::stderr().is_terminal() {
            return Shown::Lines {
                execution: execution.to_owned(),
                last: String::new(),
                at: Instant::now(),
            };
        }
        let all = MultiProgress::new();
        let status = all.add(ProgressBar::new_spinner());
        status.set_style(style("{spinner} {msg}"));
        status.enable_steady_tick(Duration::from_millis(120));
        Shown::Bars {
            all,
            status,
            phases: BTreeMap::new(),
        }
    }

    fn update(&mut self, execution: &Value) {
        match self {
            Shown::Nothing => {}
            Shown::Lines {
                execution: id,
                last,
                at,
            } => {
                let phase = phases(execution)
                    .last()
                    .map(|p| text(p, "phase"))
                    .unwrap_or_default();
                let now = format!("{} {phase}", text(execution, "status"));
                if now != *last || at.elapsed() > LINE_EVERY {
                    let detail = text(execution, "status_detail");
                    remark(&format!(
                        "execution {id}: {} {detail}",
                        text(execution, "status")
                    ));
                    (*last, *at) = (now, Instant::now());
                }
            }
            Shown::Bars {
                all,
                status,
                phases: bars,
            } => {
                let detail = text(execution, "status_detail");
                status.set_message(format!("{} {detail}", text(execution, "status")));
                for phase in phases(execution) {
                    let name = text(phase, "phase");
                    let bar = bars.entry(name.clone()).or_insert_with(|| {
                        let bar = all.add(ProgressBar::new(0));
                        bar.set_style(style("  {prefix:10} {bar:30} {pos:>6}/{len:6} {msg}"));
                        bar.set_prefix(name);
                        bar
                    });
                    let done = number(phase, "objects_done");
                    bar.set_length(number(phase, "objects_total").max(done));
                    bar.set_position(done);
                    bar.set_message(moved(phase));
                }
            }
        }
    }

    fn end(&mut self) {
        if let Shown::Bars { status, phases, .. } = self {
            // The answer that follows says the same and more.
            phases.values().for_each(ProgressBar::finish_and_clear);
            status.finish_and_clear();
        }
    }
}

fn phases(execution: &Value) -> impl DoubleEndedIterator<Item = &Value> {
    execution["phases"].as_array().into_iter().flatten()
}

fn moved(phase: &Value) -> String {
    match (number(phase, "bytes"), number(phase, "bytes_per_second")) {
        (0, _) => String::new(),
        (bytes, 0) => byte_count(bytes),
        (bytes, speed) => format!("{} at {}/s", byte_count(bytes), byte_count(speed)),
    }
}

/// A style of our own is never refused; should indicatif change its language, its default serves.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_seen_soon_in_proportion_to_the_run_and_after_a_second_at_most() {
        let pause = |millis| pause_after(Duration::from_millis(millis)).as_millis();
        assert_eq!(pause(0), 50);
        assert_eq!(pause(6_400), 200);
        assert_eq!(pause(3_600_000), 1000);
    }
}
