//! The reader of one stream: a session's own socket on a blocking thread.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use model::{
    BlockIndexError, BlockRange, BlockWriter, BoxFault, CancelOnDrop, Outcome, PieceSink,
    RowFormat, SegmentRead, SegmentReader, SegmentTask,
};
use postgres_protocol::message::frontend;
use tokio::runtime::Handle;

use super::blocks;
use super::frames::{CopyEnd, CopyFrames, Fed, FrameError, RowBytes, ServerError};
use crate::connect::{BlockingWire, CancelKey, Closer};
use crate::error::PostgresError;
use crate::session::TakenStream;
use crate::watch::Watched;

/// What one `read` from the socket may bring.
const BUFFER_BYTES: usize = 1 << 20;

/// How often a read that waits looks whether it should go on.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// How a table is read.
#[derive(Debug, Clone)]
pub(crate) struct CopyTable {
    /// For errors.
    pub name: String,
    /// BINARY or TEXT.
    pub format: RowFormat,
    /// The columns beside the ctid.
    pub columns: usize,
    /// `client_encoding` of its rows.
    pub encoding: String,
    /// The query, without a condition on the ctid.
    pub query: String,
    /// Whether ranges may be asked for.
    pub by_ranges: bool,
}

impl CopyTable {
    /// The COPY statements for a task, to be asked one after the other.
    fn statements(&self, task: &SegmentTask) -> Outcome<Vec<String>> {
        let queries = match &task.patch {
            Some(patching) if self.by_ranges => blocks::queries(&self.query, &patching.blocks),
            Some(_) => {
                let what = format!(
                    "a patch of {}, whose rows are not read by blocks",
                    self.name
                );
                return Err(PostgresError::Misuse { what }.into());
            }
            None if self.by_ranges && task.blocks != BlockRange::ALL => {
                vec![blocks::limited(&self.query, task.blocks)]
            }
            None => vec![self.query.clone()],
        };
        Ok(queries.iter().map(|query| self.copy(query)).collect())
    }

    fn copy(&self, query: &str) -> String {
        match self.format {
            RowFormat::Binary => format!("COPY ({query}) TO STDOUT (FORMAT binary)"),
            _ => format!("COPY ({query}) TO STDOUT (FORMAT text)"),
        }
    }
}

/// Reads segments in the run's snapshot.
pub(crate) struct CopyReader {
    wire: BlockingWire,
    buffer: Box<[u8]>,
    tables: Arc<[CopyTable]>,
    encoding: String,
    watched: Arc<Watched>,
    stop: Arc<Stop>,
    runtime: Handle,
    /// Whether the session is between two statements, as it must be for the next.
    idle: bool,
    /// What came behind the end of the last statement: a parameter that changed, a notice.
    pending: Vec<u8>,
}

/// What a canceller needs.
struct Stop {
    asked: AtomicBool,
    closer: Closer,
    cancel: CancelKey,
}

impl CopyReader {
    /// A reader over the stream of a session that is inside the snapshot and holds its locks.
    pub(crate) fn new(
        taken: TakenStream,
        tables: Arc<[CopyTable]>,
        watched: Arc<Watched>,
    ) -> Result<CopyReader, PostgresError> {
        let broken = |source| PostgresError::CopyBroken {
            doing: "taking over a stream".into(),
            source,
        };
        let wire = taken.wire.into_blocking().map_err(broken)?;
        wire.set_read_timeout(READ_TIMEOUT).map_err(broken)?;
        let stop = Stop {
            asked: AtomicBool::new(false),
            closer: wire.closer().map_err(broken)?,
            cancel: taken.cancel,
        };
        Ok(CopyReader {
            wire,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            tables,
            // As the session's settings have left it.
            encoding: "UTF8".into(),
            watched,
            stop: Arc::new(stop),
            runtime: Handle::current(),
            idle: true,
            pending: Vec::new(),
        })
    }

    fn set_encoding(&mut self, encoding: &str) -> Outcome<()> {
        if self.encoding == encoding {
            return Ok(());
        }
        let statement = format!("SET client_encoding = '{}'", encoding.replace('\'', "''"));
        let frames = CopyFrames::new(RowFormat::Text, 0);
        self.ask(&statement, "setting the encoding", frames, &mut Nothing)?;
        self.encoding = encoding.to_owned();
        Ok(())
    }

    /// Sends one statement and follows its answer to the end.
    fn ask<R: RowBytes>(
        &mut self,
        statement: &str,
        doing: &str,
        frames: CopyFrames,
        rows: &mut R,
    ) -> Outcome<CopyEnd> {
        if !self.idle {
            return Err(PostgresError::Misuse {
                what: "a stream was read again after an error".into(),
            }
            .into());
        }
        self.idle = false;
        let mut message = BytesMut::with_capacity(statement.len() + 16);
        frontend::query(statement, &mut message).map_err(|e| self.broken(doing, e))?;
        self.wire
            .write_all(&message)
            .and_then(|()| self.wire.flush())
            .map_err(|e| self.broken(doing, e))?;
        let end = self.follow(doing, frames, rows)?;
        if let Some(error) = &end.error {
            return Err(self.said(doing, error));
        }
        if end.transaction != b'T' {
            return Err(PostgresError::Lost {
                doing: format!("{doing}: the snapshot is gone"),
            }
            .into());
        }
        self.idle = true;
        Ok(end)
    }

    fn follow<R: RowBytes>(
        &mut self,
        doing: &str,
        mut frames: CopyFrames,
        rows: &mut R,
    ) -> Outcome<CopyEnd> {
        let pending = std::mem::take(&mut self.pending);
        match frames.feed(&pending, rows) {
            Ok(Fed::More) => {}
            Ok(Fed::Ready(_)) => {
                let what = "an answer before the statement".to_owned();
                return Err(self.disorder(doing, FrameError::Protocol(what)));
            }
            Err(e) => return Err(self.disorder(doing, e)),
        }
        loop {
            let n = match self.wire.read(&mut self.buffer) {
                Ok(0) => {
                    // A server that ends a session says why before it closes.
                    return Err(match frames.error() {
                        Some(error) => self.said(doing, error),
                        None => self.broken(doing, io::ErrorKind::UnexpectedEof.into()),
                    });
                }
                Ok(n) => n,
                Err(e) if waits(&e) && !self.stop.asked.load(Ordering::Relaxed) => continue,
                Err(e) => return Err(self.broken(doing, e)),
            };
            match frames.feed(&self.buffer[..n], rows) {
                Ok(Fed::More) => {}
                Ok(Fed::Ready(taken)) => {
                    self.pending.extend_from_slice(&self.buffer[taken..n]);
                    return frames.end().map_err(|e| self.disorder(doing, e));
                }
                Err(e) => return Err(self.disorder(doing, e)),
            }
        }
    }

    /// What stopped the run as a whole is the reason, not what it did to this stream.
    fn broken(&self, doing: &str, source: io::Error) -> BoxFault {
        let doing = doing.to_owned();
        if self.stop.asked.load(Ordering::Relaxed) {
            return PostgresError::Cancelled { doing }.into();
        }
        let lost = PostgresError::CopyBroken { doing, source };
        self.watched.reason().unwrap_or(lost).into()
    }

    fn said(&self, doing: &str, error: &ServerError) -> BoxFault {
        let doing = doing.to_owned();
        if self.stop.asked.load(Ordering::Relaxed) {
            return PostgresError::Cancelled { doing }.into();
        }
        let failed = PostgresError::Copy {
            doing,
            message: error.message.clone(),
            code: error.code.clone(),
        };
        self.watched.reason().unwrap_or(failed).into()
    }

    fn disorder(&self, doing: &str, error: FrameError) -> BoxFault {
        match error {
            FrameError::Sink(fault) => fault,
            FrameError::Order(source) => PostgresError::RowOrder {
                table: doing.to_owned(),
                source,
            }
            .into(),
            FrameError::Protocol(what) => PostgresError::Protocol {
                doing: doing.to_owned(),
                what,
            }
            .into(),
        }
    }
}

fn waits(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

impl SegmentReader for CopyReader {
    fn read(&mut self, task: &SegmentTask, sink: &mut dyn PieceSink) -> Outcome<SegmentRead> {
        if let Some(reason) = self.watched.reason() {
            return Err(reason.into());
        }
        let tables = self.tables.clone();
        let table = tables
            .get(task.table)
            .ok_or_else(|| PostgresError::Misuse {
                what: format!("the plan has no table {}", task.table),
            })?;
        let doing = format!("reading {}, {}", table.name, task.blocks);
        self.set_encoding(&table.encoding)?;
        let mut rows = BlockWriter::new(sink, task.patch.as_deref());
        for statement in table.statements(task)? {
            let frames = CopyFrames::new(table.format, table.columns);
            self.ask(&statement, &doing, frames, &mut rows)?;
        }
        rows.finish()
    }

    fn canceller(&self) -> CancelOnDrop {
        let (stop, runtime) = (self.stop.clone(), self.runtime.clone());
        CancelOnDrop::new(move || {
            stop.asked.store(true, Ordering::Relaxed);
            stop.closer.close();
            stop.cancel.clone().cancel_in_background(&runtime);
        })
    }
}

impl Drop for CopyReader {
    fn drop(&mut self) {
        if self.idle {
            let mut message = BytesMut::new();
            frontend::terminate(&mut message);
            // A farewell: the server ends the session at the closed socket too.
            let limit = self.wire.set_write_timeout(READ_TIMEOUT);
            let _closed_already = limit.and_then(|()| self.wire.write_all(&message));
        } else {
            self.stop.closer.close();
            self.stop.cancel.clone().cancel_in_background(&self.runtime);
        }
    }
}

impl RowBytes for BlockWriter<'_> {
    fn row(&mut self, block: u32, bytes: u64) -> Result<(), BlockIndexError> {
        BlockWriter::row(self, block, bytes)
    }

    fn take(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.push(bytes)
    }
}

/// For statements that give no rows.
struct Nothing;

impl RowBytes for Nothing {
    fn row(&mut self, _: u32, _: u64) -> Result<(), BlockIndexError> {
        Ok(())
    }

    fn take(&mut self, _: &[u8]) -> Outcome<()> {
        Err(PostgresError::Protocol {
            doing: "running a statement without rows".into(),
            what: "rows".into(),
        }
        .into())
    }
}
