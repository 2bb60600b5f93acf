//! Reading and restoring SQLite files, page by page.
//!
//! A site is a directory; its DATABASEs are the regular files in it that begin with SQLite's
//! header: no symbolic links, no sub-directories. [`SqliteEngine`] is all that others see; what it
//! opens are a [`model::Source`] and a [`model::Target`].
//!
//! ```text
//! SqliteEngine ── open_source ──► one read transaction ── pages by sqlite_dbpage ──► segments
//!              └─ open_target ──► a working file beside the target ── checked ──► renamed in place
//! ```
//!
//! # How it reads
//!
//! Pages come through SQLite itself, by its virtual table `sqlite_dbpage`, inside a read
//! transaction: the -wal is in them, and writers may go on. A file is never opened by a descriptor
//! of our own: closing one drops all POSIX locks that this process holds on the file, those of
//! SQLite too. For the same reason even the question "is this a database" is asked through SQLite.
//!
//! SQLite exports no snapshots, so one connection holds the snapshot and all readers take turns on
//! it, a frame of 1 MiB at a time. More streams still help: they compress and encrypt while another
//! reads.
//!
//! A file's pages are one table of the saveset: block = page number - 1, and a row is a page.
//! What a file that is not in WAL mode means for its writers is told as a warning.
//!
//! # How it restores
//!
//! Pages are written into a working file (`.backstay-restore-…`) in the same directory. It becomes
//! the database by a rename, after `PRAGMA integrity_check` and a count of its rows. Whatever stood
//! there before is kept under a name that says when and why; nothing is ever overwritten.
//!
//! # What it is not
//!
//! It knows no vault, no catalog and no job, and it restores whole files only.

mod check;
mod database;
mod engine;
mod error;
mod export;
mod facts;
mod pages;
mod permissions;
mod restore;
mod schema;
mod shape;
mod site;
mod snapshot;
mod source;
mod unchanged;

pub use engine::SqliteEngine;
pub use error::SqliteError;
