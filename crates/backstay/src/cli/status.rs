//! `backstay status`: is everything backed up lately?

use std::time::Duration;

use clap::Args;
use model::{Clock, Moment, SystemClock};
use serde_json::{Value, json};

use crate::cli::Context;
use crate::client::Client;
use crate::error::CommandError;
use crate::exit::Exit;
use crate::output::{self, text};

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Only this site
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    /// How old the last good saveset of an active job may be, as 26h or 7d
    #[arg(long, value_name = "AGE", default_value = "26h", value_parser = parse_age)]
    max_age: Duration,
}

impl StatusArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, CommandError> {
        let client = context.client()?;
        let sites = match &self.site {
            // Asked for by name, so that a wrong one is an error and not an empty list.
            Some(site) => vec![client.get(&["sites", site]).send().await?.body],
            None => client.all(&["sites"], &[]).await?,
        };
        let now = SystemClock.now();
        let mut rows = Vec::new();
        for site in &sites {
            let site = text(site, "site_id");
            let path = ["sites", &site, "jobs"];
            for job in client.all(&path, &[("job-type", "Backup")]).await? {
                rows.push(row(&client, &site, &job, now, self.max_age).await?);
            }
        }
        let too_old = rows.iter().any(|row| row["verdict"] == TOO_OLD);
        context.output.show(&Value::Array(rows), table)?;
        Ok(if too_old { Exit::Failed } else { Exit::Done })
    }
}

const FRESH: &str = "ok";
const TOO_OLD: &str = "too old";
/// Nobody expects an inactive job to run.
const INACTIVE: &str = "inactive";

async fn row(
    client: &Client,
    site: &str,
    job: &Value,
    now: Moment,
    limit: Duration,
) -> Result<Value, CommandError> {
    let id = text(job, "job_id");
    let path = ["sites", site, "jobs", &id, "savesets"];
    let answer = client
        .get(&path)
        .query("page", "1")
        .query("page-size", "1")
        .send()
        .await?;
    let newest = &answer.body[0];
    // A saveset shows the database as it was when its run began: its age counts from there.
    let start = text(newest, "start_time").parse::<Moment>().ok();
    let age = start.map(|start| now.since(start));
    let verdict = match age {
        _ if job["is_active"] == false => INACTIVE,
        Some(age) if age <= limit => FRESH,
        _ => TOO_OLD,
    };
    Ok(json!({
        "site_id": site,
        "job_id": job["job_id"],
        "job_name": job["name"],
        "saveset_id": newest["saveset_id"],
        "saveset_time": newest["start_time"],
        "age_seconds": age.map(|age| age.as_secs()),
        "last_status": job["last_execution_details"]["status"],
        "verdict": verdict,
    }))
}

fn table(rows: &Value) -> String {
    output::table(
        rows,
        "There is no backup job yet.",
        &[
            ("SITE", &|r| text(r, "site_id")),
            ("JOB", &|r| text(r, "job_name")),
            ("LAST GOOD SAVESET", &|r| output::time(r, "saveset_time")),
            ("AGE", &|r| match r["age_seconds"].as_u64() {
                Some(seconds) => output::age(Duration::from_secs(seconds)),
                None => "never".to_owned(),
            }),
            ("LAST RUN", &|r| text(r, "last_status")),
            ("", &|r| text(r, "verdict")),
        ],
    )
}

/// `90m`, `26h`, `7d`, `1d 12h`; a day has 24 hours.
fn parse_age(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no age: write it as 90m, 26h or 7d");
    let span: jiff::Span = text.parse().map_err(|_| wrong())?;
    let duration = span
        .to_duration(jiff::SpanRelativeTo::days_are_24_hours())
        .map_err(|_| wrong())?;
    Duration::try_from(duration).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_a_unit() {
        assert_eq!(parse_age("26h"), Ok(Duration::from_secs(26 * 3600)));
        assert_eq!(parse_age("1d 12h"), Ok(Duration::from_secs(36 * 3600)));
        for bad in ["26", "", "-1h", "1 month", "soon"] {
            assert!(parse_age(bad).is_err(), "{bad}");
        }
    }
}
