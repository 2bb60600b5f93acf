//! What a command can end with instead of an answer.

use std::path::PathBuf;

use crate::client::ClientError;
use crate::config::ConfigError;
use crate::exit::Exit;
use crate::secret_input::SecretError;
use crate::wiring::WiringError;

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// What was asked for cannot be meant.
    #[error("{0}")]
    Usage(String),
    /// The command was right and its goal was not reached.
    #[error("{0}")]
    Failed(String),
    /// The configuration file is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A password, token or key could not be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The server did not answer, or refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Our own server could not start or ended badly.
    #[error(transparent)]
    Wiring(#[from] WiringError),
    /// A file or directory that the command line names.
    #[error("{doing} {}: {source}", path.display())]
    File {
        /// What was tried, as `cannot read`.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The answer could not be written.
    #[error("cannot write to standard output: {0}")]
    Output(std::io::Error),
    /// The sample database of the demo.
    #[error("the demo's sample database: {0}")]
    Sample(String),
    /// `try` could not look into a database.
    #[error("{doing}: {}", fault.sentence())]
    Database {
        /// What was tried, as `cannot compare shop`.
        doing: String,
        /// What the engine said.
        fault: model::BoxFault,
    },
}

impl CommandError {
    /// The exit code that it stands for.
    pub fn exit(&self) -> Exit {
        match self {
            CommandError::Usage(_) | CommandError::Config(_) | CommandError::Secret(_) => {
                Exit::Usage
            }
            CommandError::Client(error) => error.exit(),
            CommandError::Wiring(error) => error.exit(),
            CommandError::Failed(_)
            | CommandError::File { .. }
            | CommandError::Output(_)
            | CommandError::Sample(_)
            | CommandError::Database { .. } => Exit::Failed,
        }
    }

    /// What to do about it, where there is more to say than the message.
    pub fn hint(&self) -> Option<String> {
        match self {
            CommandError::Client(error) => match (error.hint(), error.flag()) {
                (Some(hint), Some(flag)) => Some(format!("{hint} (here: {flag})")),
                (None, Some(flag)) => Some(format!("the flag for it is {flag}")),
                (hint, None) => hint,
            },
            CommandError::Wiring(error) => error.hint(),
            CommandError::Database { fault, .. } => fault.hint(),
            _ => None,
        }
    }

    /// Whether whoever read our output has gone (`| head`): nothing to complain about.
    pub fn reader_has_gone(&self) -> bool {
        matches!(self, CommandError::Output(e) if e.kind() == std::io::ErrorKind::BrokenPipe)
    }
}
