//! The files that rows go into: one a table.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use model::{ExportFormat, RestoreTable, RowFormat};

use super::csv::{self, FromBinary, FromText};
use super::fault::ExportError;
use super::files::{Folder, create};
use super::walk::{Step, Walker};
use crate::facts::{TableFacts, TableKind};
use crate::restore::{COPY_HEADER, COPY_TRAILER, facts_of};

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Lines of COPY TEXT.
    Text,
    /// COPY BINARY, with header and trailer.
    Binary,
    /// CSV with a header.
    Csv,
}

impl Content {
    pub(super) fn word(self) -> &'static str {
        match self {
            Content::Text => "copy-text",
            Content::Binary => "copy-binary",
            Content::Csv => "csv",
        }
    }
}

/// A table and its file.
#[derive(Debug)]
pub(super) struct TableFile {
    /// As a person reads it.
    pub(super) title: String,
    pub(super) facts: TableFacts,
    pub(super) content: Content,
    /// How its rows come.
    format: RowFormat,
    /// Below the export's directory.
    pub(super) file: String,
    path: PathBuf,
    /// Rows that the saveset has of it.
    pub(super) rows: u64,
    /// Held while a range is written: ranges of one table follow each other.
    pub(super) turn: tokio::sync::Mutex<()>,
}

impl TableFile {
    /// The file for a table: CSV where that is asked for and can be.
    pub(super) fn of(
        table: &RestoreTable,
        format: ExportFormat,
        folder: &mut Folder,
    ) -> Result<TableFile, ExportError> {
        let facts = facts_of(table)?;
        let rows_are_rows = facts.kind == TableKind::Rows;
        let content = match (format, table.plan.format) {
            (ExportFormat::Csv, RowFormat::Text) => Content::Csv,
            // Savesets of the first builds do not say how to read a binary column.
            (ExportFormat::Csv, RowFormat::Binary)
                if rows_are_rows && facts.forms.len() == facts.columns.len() =>
            {
                Content::Csv
            }
            (_, RowFormat::Binary) => Content::Binary,
            _ => Content::Text,
        };
        let ending = match content {
            Content::Text => "copy",
            Content::Binary => "copy.bin",
            Content::Csv => "csv",
        };
        let file = match facts.kind {
            TableKind::LargeObjects => folder.name_rows(&["large-objects"], ending),
            TableKind::Rows => folder.name_rows(&[&facts.schema, &facts.name], ending),
        };
        Ok(TableFile {
            title: table.plan.name.to_string(),
            path: folder.path().join(&file),
            file,
            facts,
            content,
            format: table.plan.format,
            rows: table.rows,
            turn: tokio::sync::Mutex::default(),
        })
    }

    /// Whether there is a file: not for a table without rows, but that CSV has its header.
    pub(super) fn is_made(&self) -> bool {
        self.rows > 0 || self.content == Content::Csv
    }

    /// Makes the file with what stands before the rows.
    pub(super) fn begin(&self) -> Result<(), ExportError> {
        let header = match self.content {
            Content::Text => Vec::new(),
            Content::Binary => COPY_HEADER.to_vec(),
            Content::Csv => csv::header(&self.facts.columns),
        };
        let make = || create(&self.path)?.write_all(&header);
        make().map_err(self.failed("making"))
    }

    /// Writes what stands behind the rows, and makes sure that all of it is on the disk.
    pub(super) fn end(&self) -> Result<(), ExportError> {
        let end = || -> io::Result<()> {
            let mut file = appending(&self.path)?;
            if self.content == Content::Binary {
                file.write_all(COPY_TRAILER)?;
            }
            file.sync_all()
        };
        end().map_err(self.failed("writing"))
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(io::Error) -> ExportError {
        ExportError::file(doing, &self.path)
    }

    /// Opens it for the rows of one range.
    pub(super) fn open(&self) -> Result<Range, ExportError> {
        let file = appending(&self.path).map_err(self.failed("opening"))?;
        let columns = self.facts.columns.len();
        let way = match (self.content, self.format) {
            (Content::Csv, RowFormat::Binary) => {
                FromBinary::new(self.facts.forms.clone()).map(Way::BinaryToCsv)
            }
            (Content::Csv, _) => Ok(Way::TextToCsv(FromText::new())),
            (_, RowFormat::Binary) => Walker::new(columns).map(|walker| Way::Binary(walker, 0)),
            _ => Ok(Way::Text {
                rows: 0,
                last: b'\n',
            }),
        };
        Ok(Range {
            file: BufWriter::with_capacity(256 << 10, file),
            path: self.path.clone(),
            way: way.map_err(|what| self.wrong(what))?,
            scratch: Vec::new(),
            table: self.title.clone(),
        })
    }

    fn wrong(&self, what: &'static str) -> ExportError {
        ExportError::Rows {
            table: self.title.clone(),
            what,
        }
    }
}

fn appending(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).open(path)
}

/// The rows of one range on their way into the file.
pub(super) struct Range {
    file: BufWriter<File>,
    path: PathBuf,
    way: Way,
    scratch: Vec<u8>,
    table: String,
}

enum Way {
    Text { rows: u64, last: u8 },
    Binary(Walker, u64),
    TextToCsv(FromText),
    BinaryToCsv(FromBinary),
}

impl Range {
    /// Takes a piece; rows may span pieces.
    pub(super) fn take(&mut self, piece: &[u8]) -> Result<(), ExportError> {
        self.scratch.clear();
        let scratch = &mut self.scratch;
        let taken = match &mut self.way {
            Way::Text { rows, last } => {
                *rows += count_lines(piece);
                *last = piece.last().copied().unwrap_or(*last);
                Ok(None)
            }
            Way::Binary(walker, rows) => {
                let walked = walker.walk(piece, |step| {
                    *rows += u64::from(step == Step::RowEnd);
                    Ok(())
                });
                walked.map(|()| None)
            }
            Way::TextToCsv(from) => from.take(piece, scratch).map(|()| Some(())),
            Way::BinaryToCsv(from) => from.take(piece, scratch).map(|()| Some(())),
        };
        let bytes = match taken {
            Ok(None) => piece,
            Ok(Some(())) => self.scratch.as_slice(),
            Err(what) => return Err(self.wrong(what)),
        };
        let written = self.file.write_all(bytes);
        written.map_err(ExportError::file("writing", &self.path))
    }

    /// The range is over: answers its rows.
    pub(super) fn finish(mut self) -> Result<u64, ExportError> {
        let rows = match &self.way {
            Way::Text { rows, last: b'\n' } => Ok(*rows),
            Way::Binary(walker, rows) if walker.is_at_an_end() => Ok(*rows),
            Way::Text { .. } | Way::Binary(..) => Err("the last row is cut short"),
            Way::TextToCsv(from) => from.rows(),
            Way::BinaryToCsv(from) => from.rows(),
        };
        let rows = rows.map_err(|what| self.wrong(what))?;
        let flushed = self.file.flush();
        flushed.map_err(ExportError::file("writing", &self.path))?;
        Ok(rows)
    }

    fn wrong(&self, what: &'static str) -> ExportError {
        ExportError::Rows {
            table: self.table.clone(),
            what,
        }
    }
}

fn count_lines(piece: &[u8]) -> u64 {
    piece.iter().filter(|byte| **byte == b'\n').count() as u64
}
