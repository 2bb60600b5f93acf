//! Plays histories from the command line and tells what they came to.
//!
//! It ends with 0 when every history was right; with `--without`, when the loss was found. A seed
//! that was not right is printed with all that happened in it; playing it alone shows the same again.
//! It is not a benchmark, and it starts its own servers.
#![allow(clippy::print_stdout, reason = "a program tells its results there")]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use engine_postgres::Rule;
use tokio::sync::Mutex;
use torture::{Played, Rig, Script, Story, Tally, Theme, Trouble, play};

/// A history that takes longer is stuck.
const LIMIT: Duration = Duration::from_secs(120);

/// Random workloads while full and delta backups are taken; each saveset is compared with what its
/// snapshot saw.
#[derive(Debug, Parser)]
#[command(name = "torture")]
struct Arguments {
    /// The first seed; the others follow it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many histories.
    #[arg(long, default_value_t = 1)]
    histories: u64,
    /// Takes a rule out: the first loss ends the run.
    #[arg(long)]
    without: Option<Rule>,
    /// PostgreSQL's major version.
    #[arg(long, default_value_t = 17)]
    version: u32,
    /// What all histories are about, as rows, heaps, shapes; else each seed decides.
    #[arg(long)]
    theme: Option<Theme>,
    /// Restores the last saveset of each history; else some are.
    #[arg(long)]
    restore: bool,
    /// Makes every backup a FULL: what is wrong then is no delta's fault.
    #[arg(long)]
    full: bool,
    /// How many servers play at the same time.
    #[arg(long, default_value_t = 1)]
    servers: usize,
    /// Goes on after a history that was not right.
    #[arg(long)]
    keep_going: bool,
    /// Tells every step of every history.
    #[arg(long)]
    tell: bool,
}

#[derive(Default)]
struct Results {
    tally: Tally,
    histories: u64,
    wrong: Vec<u64>,
    losses: Vec<u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arc::new(Arguments::parse());
    let out: Vec<Rule> = arguments.without.into_iter().collect();
    engine_postgres::take_out(&out);
    let (next, begun) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let results = Arc::new(Mutex::new(Results::default()));
    let players: Vec<_> = (0..arguments.servers.max(1))
        .map(|_| tokio::spawn(player(arguments.clone(), next.clone(), results.clone())))
        .collect();
    for player in players {
        if let Err(error) = player.await {
            println!("a player ended: {error}");
            return ExitCode::FAILURE;
        }
    }
    let results = results.lock().await;
    tell_all(&arguments, &results, begun.elapsed());
    let as_it_should_be = match arguments.without {
        Some(_) => !results.losses.is_empty(),
        None => results.wrong.is_empty(),
    };
    match as_it_should_be {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Plays one history after the other on a server of its own; a new one after a history that failed.
async fn player(arguments: Arc<Arguments>, next: Arc<AtomicU64>, results: Arc<Mutex<Results>>) {
    let mut rig: Option<Arc<Rig>> = None;
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= arguments.histories {
            return;
        }
        let server = match rig.take() {
            Some(rig) => rig,
            None => Arc::new(tokio::task::block_in_place(|| {
                Rig::start(arguments.version)
            })),
        };
        let seed = arguments.seed + number;
        let story = Story::default();
        let (played, took) = one(&arguments, server.clone(), seed, story.clone()).await;
        let stops = played.trouble.is_some() && !arguments.keep_going;
        if played.trouble.is_none() && !played.theme.ruins_the_server() {
            rig = Some(server);
        }
        let mut results = results.lock().await;
        tell(&arguments, seed, &played, &story, took);
        results.histories += 1;
        results.tally.add(&played.tally);
        if let Some(trouble) = &played.trouble {
            results.wrong.push(seed);
            if trouble.is_loss() {
                results.losses.push(seed);
            }
        }
        if stops && (arguments.without.is_none() || !results.losses.is_empty()) {
            next.store(arguments.histories, Ordering::Relaxed);
        }
    }
}

async fn one(arguments: &Arguments, rig: Arc<Rig>, seed: u64, story: Story) -> (Played, Duration) {
    let script = Script {
        theme: arguments.theme,
        restore: arguments.restore.then_some(true),
        full: arguments.full,
    };
    let begun = Instant::now();
    // A task of its own: a panic is a history's failure.
    let playing = tokio::spawn(tokio::time::timeout(
        LIMIT,
        play(rig.clone(), seed, script, story),
    ));
    let failed = |what: String| Played {
        theme: arguments.theme.unwrap_or(Theme::Rows),
        tally: Tally::default(),
        trouble: Some(Trouble::new(what)),
    };
    let played = match playing.await {
        Ok(Ok(played)) => played,
        Ok(Err(_)) => {
            let sessions = tokio::task::block_in_place(|| rig.sessions());
            failed(format!(
                "it took longer than {LIMIT:?}; the server's sessions:\n{sessions}"
            ))
        }
        Err(error) => failed(error.to_string()),
    };
    (played, begun.elapsed())
}

fn tell(arguments: &Arguments, seed: u64, played: &Played, story: &Story, took: Duration) {
    let (theme, tally) = (played.theme, &played.tally);
    let end = match &played.trouble {
        None => "right".to_owned(),
        Some(trouble) if trouble.is_loss() => format!("LOSS\n{trouble}"),
        Some(trouble) => format!("FAILED\n{trouble}"),
    };
    if played.trouble.is_some() || arguments.tell || arguments.histories == 1 {
        println!("{}", story.text());
    }
    println!(
        "seed {seed}, PostgreSQL {}: {theme}, {} savesets, {} of {} deltas by summaries, {} ms: {end}",
        arguments.version,
        tally.savesets,
        tally.by_summaries,
        tally.deltas,
        took.as_millis()
    );
}

fn tell_all(arguments: &Arguments, results: &Results, took: Duration) {
    let tally = &results.tally;
    println!(
        "{} histories in {:.1} s on PostgreSQL {}: {} savesets, {} deltas ({} by summaries, {} by \
         hash), {} segments kept, {} patches, {} attempts without a saveset, {} restored",
        results.histories,
        took.as_secs_f64(),
        arguments.version,
        tally.savesets,
        tally.deltas,
        tally.by_summaries,
        tally.by_hash,
        tally.kept_segments,
        tally.patches,
        tally.failed,
        tally.restored
    );
    println!(
        "not right: {:?}; losses: {:?}",
        results.wrong, results.losses
    );
}
