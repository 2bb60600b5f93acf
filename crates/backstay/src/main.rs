//! Backstay: backup as a service, in one program.
//!
//! ```text
//! backstay serve                    the server: catalog, runner, HTTP          wiring
//! backstay demo | try               a server of its own, told through HTTP     demo, cli/try_
//! backstay site | job | …           a client of a server                       cli, client, output
//! ```
//!
//! [`cli`] is the tree of commands; [`config`] merges `backstay.toml`, `BACKSTAY_*` and flags;
//! [`wiring`] is the only place that knows all rooms of the product by name. Everything that a
//! client's command knows it was told by the HTTP API, the demo included.
//!
//! What this crate is not: it has no rule of its own about backups. Nobody depends on it.

mod cli;
mod client;
mod config;
mod crash_points;
mod demo;
mod error;
mod exit;
mod log;
mod output;
mod secret_input;
mod signals;
mod wait;
mod wiring;

use std::process::ExitCode;

use clap::Parser;

use crate::error::CommandError;
use crate::exit::Exit;

fn main() -> ExitCode {
    crash_points::arm();
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(refusal) => return refused(&refusal),
    };
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(error) if error.reader_has_gone() => Exit::Done.into(),
        Err(error) => {
            output::remark(&complaint(&error));
            error.exit().into()
        }
    }
}

fn run(cli: cli::Cli) -> Result<Exit, CommandError> {
    // Whoever comes second finds the same provider: there is one in the whole program.
    let _already_there = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| CommandError::Failed(format!("cannot start the program's threads: {e}")))?;
    let ended = runtime.block_on(cli.run());
    // A blocking read of a terminal or a file must not keep the program from ending.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    ended
}

/// Help and version are no errors; clap knows where each belongs.
fn refused(refusal: &clap::Error) -> ExitCode {
    let _nobody_reads = refusal.print();
    if refusal.use_stderr() {
        Exit::Usage.into()
    } else {
        Exit::Done.into()
    }
}

fn complaint(error: &CommandError) -> String {
    use clap::builder::styling::{AnsiColor, Color, Style};
    let red = Style::new()
        .bold()
        .fg_color(Some(Color::Ansi(AnsiColor::Red)));
    let mut text = format!("{red}error:{red:#} {error}");
    if let Some(hint) = error.hint() {
        text += &format!("\n  {hint}");
    }
    text
}
