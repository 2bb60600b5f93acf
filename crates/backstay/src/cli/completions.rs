//! `backstay completions <shell>`.

use std::io::Write;

use clap::{Args, CommandFactory};

use crate::cli::Cli;
use crate::error::CommandError;
use crate::exit::Exit;

/// `backstay completions bash > /etc/bash_completion.d/backstay`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
}

impl CompletionsArgs {
    pub(crate) fn run(self) -> Result<Exit, CommandError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "backstay", &mut script);
        std::io::stdout()
            .write_all(&script)
            .map_err(CommandError::Output)?;
        Ok(Exit::Done)
    }
}
