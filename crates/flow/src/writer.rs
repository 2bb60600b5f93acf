//! One saveset's writer, lent to several sealing threads and taken back to be committed.

use std::convert::Infallible;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use vault::SavesetWriter;

/// The writer as a sealing thread has it.
#[derive(Clone)]
pub(crate) struct LentWriter {
    // Dropped first: when the channel below is seen closed, no thread holds the writer any more.
    writer: Arc<SavesetWriter>,
    _lent: mpsc::Sender<Infallible>,
}

impl Deref for LentWriter {
    type Target = SavesetWriter;

    fn deref(&self) -> &SavesetWriter {
        &self.writer
    }
}

/// The writer as the run has it.
pub(crate) struct Owner {
    lent: LentWriter,
    returned: mpsc::Receiver<Infallible>,
}

impl Owner {
    pub(crate) fn new(writer: SavesetWriter) -> Self {
        let (sender, returned) = mpsc::channel(1);
        Owner {
            lent: LentWriter {
                writer: Arc::new(writer),
                _lent: sender,
            },
            returned,
        }
    }

    pub(crate) fn lend(&self) -> LentWriter {
        self.lent.clone()
    }

    /// Waits until no thread holds it any more; `None` if one still does after `limit`.
    pub(crate) async fn take_back(self, limit: Duration) -> Option<SavesetWriter> {
        let Owner { lent, mut returned } = self;
        let LentWriter { writer, _lent } = lent;
        drop(_lent);
        tokio::time::timeout(limit, returned.recv()).await.ok()?;
        Arc::into_inner(writer)
    }
}
