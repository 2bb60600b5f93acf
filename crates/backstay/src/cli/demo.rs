//! `backstay demo`.

use std::path::PathBuf;

use clap::Args;

use crate::demo;
use crate::error::CommandError;
use crate::exit::Exit;

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// End after the story instead of serving until Ctrl-C
    #[arg(long)]
    once: bool,
    /// The port to listen on [default: 8610, or a free one if that is taken]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Keep everything in this new directory [default: a temporary one, which goes at the end]
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

impl DemoArgs {
    pub(crate) async fn run(self) -> Result<Exit, CommandError> {
        let story = demo::Story {
            once: self.once,
            port: self.port,
            keep: self.keep,
        };
        story.tell().await?;
        Ok(Exit::Done)
    }
}
