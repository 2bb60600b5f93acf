//! What `site check` finds out about a directory of SQLite files.

use model::{CheckFinding, CheckReport, Connection, Fault, FindingLevel};

use crate::error::SqliteError;
use crate::site::{Kind, Listed, SiteDirectory};
use crate::snapshot::has_dbpage;

pub(crate) fn check(connection: &Connection) -> Result<CheckReport, SqliteError> {
    let mut findings = vec![reading()?];
    match SiteDirectory::open(connection).and_then(|site| Ok((site.listing()?, site))) {
        Ok((files, site)) => {
            findings.push(directory(&site, &files));
            findings.extend(files.iter().filter_map(file));
        }
        Err(error @ SqliteError::WrongConnection) => return Err(error),
        Err(error) => findings.push(fault("directory", &error)),
    }
    Ok(CheckReport {
        version: Some(format!("SQLite {}", rusqlite::version())),
        findings,
    })
}

fn reading() -> Result<CheckFinding, SqliteError> {
    let asked = rusqlite::Connection::open_in_memory().and_then(|memory| has_dbpage(&memory));
    let there = asked.map_err(|source| SqliteError::Sqlite {
        doing: "opening",
        path: ":memory:".into(),
        source,
    })?;
    Ok(if there {
        let detail = "SQLite was compiled with sqlite_dbpage, by which pages are read.";
        finding(FindingLevel::Ok, "reading", detail.to_owned())
    } else {
        fault("reading", &SqliteError::NoDbpage)
    })
}

fn directory(site: &SiteDirectory, files: &[Listed]) -> CheckFinding {
    let count = files
        .iter()
        .filter(|file| matches!(file.what, Kind::Database { .. }))
        .count();
    let path = site.path().display();
    match count {
        0 => CheckFinding {
            level: FindingLevel::Warning,
            what: "directory".to_owned(),
            detail: format!("{path} can be read, but no file in it is a SQLite database."),
            remedy: Some("Sub-directories and symbolic links are not looked at: make the directory that holds the files themselves the site's path.".to_owned()),
        },
        1 => finding(FindingLevel::Ok, "directory", format!("{path} holds 1 SQLite database.")),
        _ => finding(FindingLevel::Ok, "directory", format!("{path} holds {count} SQLite databases.")),
    }
}

/// What there is to say about one file; nothing where all is well.
fn file(listed: &Listed) -> Option<CheckFinding> {
    let name = &listed.name;
    match &listed.what {
        Kind::Database { shape, .. } if shape.is_wal => None,
        Kind::Database { .. } => Some(CheckFinding {
            level: FindingLevel::Warning,
            what: format!("journal mode of {name}"),
            detail: format!(
                "{name} is not in WAL mode: its writers wait at commit while it is backed up."
            ),
            remedy: Some("PRAGMA journal_mode = WAL".to_owned()),
        }),
        Kind::Unreadable { error, .. } => Some(fault(&format!("file {name}"), error)),
        Kind::NoUtf8 => Some(CheckFinding {
            level: FindingLevel::Warning,
            what: format!("file {name}"),
            detail: format!("The name of {name} is not UTF-8, so that no job can name it."),
            remedy: Some("Rename it.".to_owned()),
        }),
        Kind::WorkingFile => Some(CheckFinding {
            level: FindingLevel::Warning,
            what: format!("file {name}"),
            detail: format!(
                "{name} is the working file of a restore that is running, or of one that was killed."
            ),
            remedy: Some("If no restore to this site is running, delete it.".to_owned()),
        }),
    }
}

fn finding(level: FindingLevel, what: &str, detail: String) -> CheckFinding {
    CheckFinding {
        level,
        what: what.to_owned(),
        detail,
        remedy: None,
    }
}

fn fault(what: &str, error: &SqliteError) -> CheckFinding {
    let as_fault: &dyn Fault = error;
    CheckFinding {
        level: FindingLevel::Error,
        what: what.to_owned(),
        detail: format!("{}.", as_fault.sentence()),
        remedy: error.hint(),
    }
}
