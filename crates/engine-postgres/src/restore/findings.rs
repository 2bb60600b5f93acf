//! Looks at everything that could stop a restore, before anything is touched; also a dry run.
//!
//! What stands in the way becomes an *obstacle*, with its remedy. What is left out becomes a
//! warning, and a *decision* that the later steps keep to.

mod database;
mod roles;
mod server;
mod tablespaces;

pub(super) use database::holds;
pub(super) use roles::{DATABASE_OWNER, members_and_others};
pub(super) use server::provider_is_known;

use std::collections::BTreeSet;

use model::{Findings, Obstacle, Outcome, RestoreRequest};

use super::destination::Destination;
use super::dictionary::Dictionary;
use super::fault::RestoreError;
use super::globals::Globals;
use crate::session::Session;

/// What was decided for the steps that follow.
#[derive(Debug, Clone, Default)]
pub(super) struct Decisions {
    /// Owners that are left out: the role that restores owns their objects.
    pub(super) owners_left_out: Vec<String>,
    /// Roles of the saveset that the target does not have.
    pub(super) absent_roles: Vec<String>,
    /// Entries whose tablespace cannot be used: they go into the database's own.
    pub(super) misplaced: BTreeSet<u32>,
    /// The tablespace of the database itself.
    pub(super) tablespace: Option<String>,
    /// Whether the role that restores is a superuser.
    pub(super) superuser: bool,
    /// The target's major version.
    pub(super) server_major: u32,
    /// Whether a database of the wanted name is there.
    pub(super) target_is_there: bool,
}

/// What was found and decided so far.
#[derive(Default)]
struct Look {
    findings: Findings,
    decisions: Decisions,
    role: String,
    /// Sessions in the database that is put aside.
    sessions: i64,
    /// Steps that differ from one server to another.
    steps: Vec<String>,
}

impl Look {
    fn obstacle(&mut self, code: &str, detail: String, remedy: impl Into<Option<String>>) {
        self.findings.obstacles.push(Obstacle {
            code: code.to_owned(),
            detail,
            remedy: remedy.into(),
        });
    }

    fn warn(&mut self, text: String) {
        self.findings.warnings.push(text);
    }
}

/// Looks, and changes nothing.
pub(super) async fn look(
    destination: &Destination,
    dictionary: &Dictionary,
    request: &RestoreRequest,
) -> Outcome<(Findings, Decisions)> {
    let session = destination.beside().await?;
    let mut look = Look::default();
    look.decisions.server_major = session.major();
    rights(&mut look, &session).await?;
    database::look(&mut look, &session, destination, request).await?;
    let globals = Globals::fetch(&*request.dictionary).await?;
    let facts = &dictionary.facts;
    roles::look(&mut look, &session, facts, &globals, request.as_copy).await?;
    server::version(&mut look, &session, &dictionary.facts);
    server::extensions(&mut look, &session, &dictionary.facts).await?;
    server::locale(&mut look, &session, &dictionary.facts).await?;
    tablespaces::look(&mut look, &session, dictionary, &globals).await?;
    server::only_for_superusers(&mut look, dictionary);
    session.close().await;
    left_out_by_rule(&mut look, dictionary);
    steps(&mut look, destination, request);
    look.findings.bytes_needed = request.tables.iter().map(|table| table.bytes).sum();
    Ok((look.findings, look.decisions))
}

async fn rights(look: &mut Look, session: &Session) -> Result<(), RestoreError> {
    let sql = include_str!("../../sql/restoring_role_14.sql");
    let row = session
        .row(sql, &[], "reading the restoring role's rights")
        .await?;
    look.role = row.get(0);
    look.decisions.superuser = row.get(1);
    if !row.get::<_, bool>(2) {
        let role = super::quote::ident(&look.role);
        look.obstacle(
            "missing-right",
            format!("the role {role} may not make databases"),
            format!("ALTER ROLE {role} CREATEDB"),
        );
    }
    Ok(())
}

/// What a restore never brings back, or only on request.
fn left_out_by_rule(look: &mut Look, dictionary: &Dictionary) {
    let owners = &dictionary.facts.needs.owners;
    let names = |kind: &str| {
        let all = dictionary.after_rows.entries.iter();
        let of_kind = all.filter(|entry| entry.kind == kind);
        of_kind.map(|entry| entry.name(owners)).collect::<Vec<_>>()
    };
    let subscriptions = names("SUBSCRIPTION");
    if !subscriptions.is_empty() {
        look.warn(format!(
            "subscriptions are left out, because a second subscriber would take the first one's changes: {}",
            subscriptions.join(", ")
        ));
    }
    let event_triggers = names("EVENT TRIGGER");
    if !event_triggers.is_empty() && !look.decisions.superuser {
        look.warn(format!(
            "event triggers are left out, because only a superuser may make them: {}",
            event_triggers.join(", ")
        ));
    }
}

fn steps(look: &mut Look, destination: &Destination, request: &RestoreRequest) {
    let (working, target) = (&destination.working, &destination.target);
    let rows: u64 = request.tables.iter().map(|table| table.rows).sum();
    let (tables, streams) = (request.tables.len(), request.streams);
    let indexes = match request.skip_indexes {
        true => "keys, unique indexes",
        false => "keys, indexes",
    };
    let statistics = match request.skip_statistics {
        true => "",
        false => ", gather statistics",
    };
    let mut steps = vec![format!(
        "make the database {working:?} and in it types, functions, tables and views"
    )];
    steps.append(&mut look.steps);
    steps.push(format!(
        "load {rows} rows into {tables} tables with {streams} streams; this runs code of the saveset: checks of columns and domains"
    ));
    steps.push(format!(
        "make {indexes}, triggers and policies, {streams} at a time; expressions of indexes are run"
    ));
    steps.push(format!(
        "set sequences, grants and settings, fill materialized views{statistics}"
    ));
    if look.decisions.target_is_there {
        let sessions = look.sessions;
        steps.push(format!(
            "end the sessions in {target:?} ({sessions} now), rename it so that its new name says when and why"
        ));
    }
    steps.push(format!("rename {working:?} to {target:?}"));
    steps.push(
        "PostgreSQL does not tell over SQL how much disk is free: see that there is room for the rows, and about as much again for indexes".into(),
    );
    look.findings.steps = steps;
}
