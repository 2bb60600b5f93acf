//! Looks at everything that could stop a restore, before anything is touched; also a dry run.
//!
//! What stands in the way becomes an *obstacle*, with its remedy. What is left out becomes a
//! warning, and a *decision* that the later steps keep to.

mod database;
mod needed;
mod objects;
mod roles;
mod server;
mod steps;
mod tablespaces;

pub(super) use database::holds;
pub(super) use objects::hindrances;
pub(super) use roles::{DATABASE_OWNER, members_and_others};
pub(super) use server::provider_is_known;

use std::collections::BTreeSet;

use model::{Findings, Obstacle, Outcome, RestoreRequest, RestoreTable};

use super::destination::Destination;
use super::dictionary::Dictionary;
use super::fault::RestoreError;
use super::globals::Globals;
use super::load;
use super::wanted::Wanted;
use crate::session::Session;
use needed::Needed;

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
    /// Whether objects go into that database, beside what it holds.
    pub(super) into_target: bool,
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
    /// Steps of the end that differ from one target to another.
    last_steps: Vec<String>,
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
) -> Outcome<(Findings, Decisions, Wanted)> {
    let session = destination.beside().await?;
    let mut look = Look::default();
    look.decisions.server_major = session.major();
    rights(&mut look, &session).await?;
    database::look(&mut look, &session, destination, request).await?;
    let into_target = look.decisions.into_target;
    let wanted = Wanted::of(request, destination, into_target)?;
    let (facts, as_copy) = (&dictionary.facts, request.as_copy);
    let globals = Globals::fetch(&*request.dictionary).await?;
    if wanted.is_of_the_whole() {
        roles::look(&mut look, &session, facts, &globals, as_copy, None).await?;
        server::extensions(&mut look, &session, facts, None).await?;
        server::only_for_superusers(&mut look, dictionary);
        left_out_by_rule(&mut look, dictionary);
    } else {
        let mut needed = needed::needed(dictionary, &wanted);
        if !into_target {
            needed.owners.insert(facts.owner.clone());
        }
        not_there(&mut look, &needed);
        roles::look(
            &mut look,
            &session,
            facts,
            &globals,
            as_copy,
            Some(&needed.owners),
        )
        .await?;
        if into_target {
            let inside = destination.in_target();
            objects::look(&mut look, &inside, dictionary, request, &wanted, &needed).await?;
        } else {
            let extensions = needed.extensions();
            server::extensions(&mut look, &session, facts, Some(&extensions)).await?;
        }
    }
    server::version(&mut look, &session, facts);
    if !into_target {
        server::locale(&mut look, &session, facts).await?;
    }
    tablespaces::look(&mut look, &session, dictionary, &globals).await?;
    session.close().await;
    let tables = wanted_tables(request, &wanted)?;
    look.findings.bytes_needed = tables.iter().map(|table| table.bytes).sum();
    steps::tell(&mut look, destination, request, &wanted, &tables);
    Ok((look.findings, look.decisions, wanted))
}

/// What was asked for and is not in the saveset.
fn not_there(look: &mut Look, needed: &Needed<'_>) {
    for chosen in &needed.absent {
        look.obstacle(
            "no-such-object",
            format!("{} is not in the saveset", chosen.title()),
            "look with the saveset's objects which names there are; a name without a schema is one of public".to_owned(),
        );
    }
}

/// The tables whose rows will be read.
fn wanted_tables<'a>(
    request: &'a RestoreRequest,
    wanted: &Wanted,
) -> Result<Vec<&'a RestoreTable>, RestoreError> {
    let mut tables = Vec::new();
    for table in &request.tables {
        if wanted.may_want(&load::facts_of(table)?) {
            tables.push(table);
        }
    }
    Ok(tables)
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
