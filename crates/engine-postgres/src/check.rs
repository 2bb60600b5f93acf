//! Looking at a server before it is backed up: what is there, what is missing, what helps.

use std::path::PathBuf;

use model::{CheckFinding, CheckReport, Fault, FindingLevel};

use crate::changed::{Means, Prospect};
use crate::chosen::Taken;
use crate::connect::Endpoint;
use crate::error::PostgresError;
use crate::locks::Strength;
use crate::session::Session;
use crate::tools;

/// What the check shows itself as.
const APPLICATION_NAME: &str = "backstay check";

/// Looks. Whatever goes wrong is a finding.
pub(crate) async fn check(
    endpoint: &Endpoint,
    streams: usize,
    tool_directories: &[PathBuf],
) -> CheckReport {
    let mut check = Check::default();
    match Session::open(endpoint, APPLICATION_NAME).await {
        Ok(session) => {
            check.report.version = Some(format!("PostgreSQL {}", session.version()));
            check.found(
                FindingLevel::Ok,
                "connection",
                format!("{} answers as {}", endpoint.address(), endpoint.user()),
                None,
            );
            if let Err(error) = check.server(&session, streams).await {
                check.failed("rights", &error);
            }
            check.tools(session.major(), tool_directories).await;
            session.close().await;
        }
        Err(error) => check.failed("connection", &error),
    }
    check.report
}

#[derive(Default)]
struct Check {
    report: CheckReport,
}

/// What the role may do, in the order of `sql/rights_14.sql`.
struct Rights {
    superuser: bool,
    bypass_rls: bool,
    read_all_data: bool,
    read_all_stats: bool,
    checkpoint: Option<bool>,
}

impl Check {
    fn found(&mut self, level: FindingLevel, what: &str, detail: String, remedy: Option<String>) {
        self.report.findings.push(CheckFinding {
            level,
            what: what.into(),
            detail,
            remedy,
        });
    }

    fn failed(&mut self, what: &str, error: &PostgresError) {
        let fault: &dyn Fault = error;
        self.found(FindingLevel::Error, what, fault.sentence(), error.hint());
    }

    async fn server(&mut self, session: &Session, streams: usize) -> Result<(), PostgresError> {
        self.pooler(session).await?;
        self.rights(session).await?;
        self.unreadable(session).await?;
        let means = Means::read(session).await?;
        let row = session
            .text("SELECT SESSION_USER", "asking for the role")
            .await?;
        let prospect = Prospect::of(&means, row.as_deref().unwrap_or_default());
        self.found(
            prospect.level,
            "changed blocks",
            prospect.detail,
            prospect.remedy,
        );
        // Each stream, the holder of the snapshot and pg_dump; and who waits for WAL summaries.
        let waits = means.is_ok_and(|means| means.lack().is_none());
        self.limits(session, streams, 2 + i64::from(waits)).await
    }

    /// A pooler that gives each transaction another backend loses settings, locks and snapshot.
    async fn pooler(&mut self, session: &Session) -> Result<(), PostgresError> {
        let sql = "SELECT pg_catalog.pg_backend_pid()::pg_catalog.text";
        let doing = "looking for a pooler";
        let first = session.text(sql, doing).await?;
        let second = session.text(sql, doing).await?;
        let mark = "SELECT pg_catalog.current_setting('search_path')";
        let kept = session.text(mark, doing).await?;
        if is_one_session(session.pid(), [&first, &second], kept.as_deref()) {
            self.found(
                FindingLevel::Ok,
                "session",
                "a session keeps its backend".into(),
                None,
            );
        } else {
            self.found(
                FindingLevel::Error,
                "session",
                "a connection pooler gives each statement another backend, so that no snapshot can be held".into(),
                Some("connect to PostgreSQL itself, or to a pooler in session mode".into()),
            );
        }
        Ok(())
    }

    async fn rights(&mut self, session: &Session) -> Result<(), PostgresError> {
        let sql = include_str!("../sql/rights_14.sql");
        let row = session
            .row(sql, &[], "reading the rights of the role")
            .await?;
        let role: String = row.get("role");
        let rights = Rights {
            superuser: row.get("superuser"),
            bypass_rls: row.get("bypass_rls"),
            read_all_data: row.get("read_all_data"),
            read_all_stats: row.get("read_all_stats"),
            checkpoint: row.get("checkpoint"),
        };
        if rights.superuser {
            self.found(
                FindingLevel::Warning,
                "role",
                format!("{role} is a superuser, which a backup does not need"),
                Some(least_rights("backstay", session.major())),
            );
            return Ok(());
        }
        let advice = Some(least_rights(&role, session.major()));
        let mut lacks = |has: bool, level, right: &str, lost: &str| {
            let (level, detail) = match has {
                true => (FindingLevel::Ok, format!("{role} has {right}")),
                false => (level, format!("{role} lacks {right}: {lost}")),
            };
            let remedy = advice.clone().filter(|_| !has);
            self.found(level, "role", detail, remedy);
        };
        lacks(
            rights.read_all_data,
            FindingLevel::Warning,
            "pg_read_all_data",
            "tables that are made later may not be readable, and large objects are not",
        );
        lacks(
            rights.bypass_rls,
            FindingLevel::Warning,
            "BYPASSRLS",
            "a table with row level security cannot be backed up",
        );
        lacks(
            rights.read_all_stats,
            FindingLevel::Warning,
            "pg_read_all_stats",
            "who holds a lock, or waits for this role, is told without the query",
        );
        if let Some(checkpoint) = rights.checkpoint {
            lacks(
                checkpoint,
                FindingLevel::Warning,
                "pg_checkpoint",
                "changed blocks of a delta are found later, or by hash",
            );
        }
        Ok(())
    }

    async fn unreadable(&mut self, session: &Session) -> Result<(), PostgresError> {
        let tables = crate::locks::list(session, Strength::AccessShare, &Taken::All).await?;
        let unreadable: Vec<String> = tables
            .iter()
            .filter(|table| !table.readable())
            .map(crate::locks::Lockable::qualified)
            .collect();
        let detail = match unreadable.len() {
            0 => format!("all {} tables of this database are readable", tables.len()),
            n => format!(
                "{n} of {} tables of this database are not readable: {}",
                tables.len(),
                unreadable[..n.min(10)].join(", ")
            ),
        };
        let level = match unreadable.is_empty() {
            true => FindingLevel::Ok,
            false => FindingLevel::Error,
        };
        self.found(level, "tables", detail, None);
        Ok(())
    }

    async fn limits(
        &mut self,
        session: &Session,
        streams: usize,
        others: i64,
    ) -> Result<(), PostgresError> {
        let sql = include_str!("../sql/limits_14.sql");
        let row = session.row(sql, &[], "reading the limits").await?;
        let needed = i64::try_from(streams)
            .unwrap_or(i64::MAX)
            .saturating_add(others);
        let (free, most): (i64, i64) = (row.get("free"), row.get("most"));
        let detail =
            format!("{streams} streams take {needed} connections; {free} of {most} are free");
        match needed <= free {
            true => self.found(FindingLevel::Ok, "connections", detail, None),
            false => self.found(
                FindingLevel::Error,
                "connections",
                detail,
                Some(format!(
                    "ALTER SYSTEM SET max_connections = {}; -- and restart",
                    most + needed
                )),
            ),
        }
        let (tables, room): (i64, i64) = (row.get("tables"), row.get("lock_room"));
        // Who waits for WAL summaries locks nothing.
        let locking = i64::try_from(streams).unwrap_or(i64::MAX).saturating_add(2);
        let locks = tables.saturating_mul(locking);
        let setting: i64 = row.get("locks_each");
        let detail = format!(
            "{tables} tables take about {locks} locks in {locking} sessions; with max_locks_per_transaction = {setting} there is room for {room}"
        );
        match locks <= room {
            true => self.found(FindingLevel::Ok, "locks", detail, None),
            false => self.found(
                FindingLevel::Error,
                "locks",
                detail,
                Some(format!(
                    "ALTER SYSTEM SET max_locks_per_transaction = {}; -- and restart",
                    setting.saturating_mul(locks) / room.max(1) + 1
                )),
            ),
        }
        Ok(())
    }

    async fn tools(&mut self, major: u32, directories: &[PathBuf]) {
        match tools::find(major, directories).await {
            Ok(found) => self.found(
                FindingLevel::Ok,
                "pg_dump",
                format!("version {} at {}", found.major, found.pg_dump.display()),
                None,
            ),
            Err(error) => self.failed("pg_dump", &error),
        }
    }
}

/// Whether statements outside of a transaction met the same backend, with our settings.
fn is_one_session(pid: i32, seen: [&Option<String>; 2], search_path: Option<&str>) -> bool {
    let pid = pid.to_string();
    seen.iter().all(|seen| seen.as_deref() == Some(&pid))
        && matches!(search_path, Some("" | "\"\""))
}

/// The SQL that makes a role with exactly the rights that a backup needs.
pub(crate) fn least_rights(role: &str, major: u32) -> String {
    let name = format!("\"{}\"", role.replace('"', "\"\""));
    let checkpoint = if major >= 15 { ", pg_checkpoint" } else { "" };
    let offline = match major {
        ..17 => format!("GRANT UPDATE ON each table TO {name};"),
        _ => format!("GRANT pg_maintain TO {name};"),
    };
    format!(
        "CREATE ROLE {name} LOGIN; -- if it is not there; then \\password\nALTER ROLE {name} BYPASSRLS;\nGRANT pg_read_all_data, pg_read_all_stats{checkpoint} TO {name};\n-- for jobs with online = false, which lock writers out: {offline}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pooler_that_changes_backends_or_loses_settings_is_seen() {
        let (one, other) = (Some("7".to_owned()), Some("8".to_owned()));
        assert!(is_one_session(7, [&one, &one], Some("\"\"")));
        assert!(!is_one_session(7, [&one, &other], Some("\"\"")));
        assert!(!is_one_session(7, [&other, &other], Some("\"\"")));
        assert!(!is_one_session(7, [&one, &one], Some("\"$user\", public")));
        assert!(!is_one_session(7, [&one, &None], None));
    }

    #[test]
    fn the_advice_quotes_the_role_and_knows_the_version() {
        let sql = least_rights("o\"dd", 14);
        assert!(sql.contains("\"o\"\"dd\"") && !sql.contains("pg_checkpoint"));
        assert!(least_rights("x", 15).contains("pg_checkpoint"));
    }
}
