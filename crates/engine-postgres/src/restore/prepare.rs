//! DICTIONARY: the working database, and in it everything that rows need.

use model::{Progress, RestoreRequest};
use tokio_postgres::error::SqlState;

use super::destination::Destination;
use super::dictionary::Dictionary;
use super::fault::RestoreError;
use super::findings::{Decisions, provider_is_known};
use super::messages::ToolError;
use super::quote::{ident, literal};
use super::toc::{Entry, Step};
use super::{large_objects, loan};
use crate::error::PostgresError;
use crate::facts::DatabaseFacts;
use crate::session::Session;

/// How many errors of pg_restore an error of ours repeats.
const ERRORS_TOLD: usize = 3;

/// Makes the working database. `made` is true from before the moment that it can be there.
pub(super) async fn make_database(
    destination: &Destination,
    facts: &DatabaseFacts,
    decisions: &Decisions,
    progress: &dyn Progress,
    made: &mut bool,
) -> Result<(), RestoreError> {
    let session = destination.beside().await?;
    if *made {
        // A second try of the same restore.
        drop_database(&session, &destination.working).await?;
    }
    for left in &destination.left {
        drop_left(&session, left, progress).await?;
    }
    let name = ident(&destination.working);
    let tablespace = decisions.tablespace.as_ref();
    let tablespace = tablespace.map_or(String::new(), |t| format!(" TABLESPACE {}", ident(t)));
    let encoding = literal(&facts.encoding);
    for (place, locale) in locales(facts, session.major()).iter().enumerate() {
        let sql = format!(
            "CREATE DATABASE {name} TEMPLATE template0 ENCODING {encoding}{locale}{tablespace}"
        );
        let before = std::mem::replace(made, true);
        match session.run(&sql, "making the working database").await {
            Ok(()) => {
                if place > 0 {
                    let locale = facts
                        .locale
                        .as_ref()
                        .filter(|_| facts.locale_provider != "c");
                    progress.warning(format!(
                        "the locale of the source ({}) cannot be had on the target: texts may be sorted in another way",
                        locale.unwrap_or(&facts.lc_collate)
                    ));
                }
                // Nobody else has business there before it is complete.
                let sql = format!("REVOKE ALL ON DATABASE {name} FROM PUBLIC");
                session.run(&sql, "closing the working database").await?;
                session.close().await;
                return Ok(());
            }
            Err(error) => {
                // Where the server itself says no, it has made nothing: what may be there of that
                // name is somebody else's.
                if error.sql_state().is_some() {
                    *made = before;
                }
                if error.sql_state() == Some(SqlState::DUPLICATE_DATABASE) {
                    let name = destination.working.clone();
                    return Err(RestoreError::WorkingNameTaken { name });
                }
                if !is_about_locale(&error) {
                    return Err(error.into());
                }
            }
        }
    }
    Err(RestoreError::Postgres(PostgresError::Misuse {
        what: "no locale at all was good enough for a database".into(),
    }))
}

/// Takes away what a crash left of an earlier run of the same restore. One that somebody is
/// connected to stays: it may be another server's run that counts to the same number.
async fn drop_left(
    session: &Session,
    name: &str,
    progress: &dyn Progress,
) -> Result<(), RestoreError> {
    let sql = format!("DROP DATABASE IF EXISTS {}", ident(name));
    match session.run(&sql, "dropping what a crash left").await {
        Ok(()) => Ok(()),
        Err(error)
            if matches!(
                error.sql_state(),
                Some(SqlState::OBJECT_IN_USE | SqlState::INSUFFICIENT_PRIVILEGE)
            ) =>
        {
            progress.warning(format!(
                "the database {name}, left by an earlier run of this restore, stays: {error}"
            ));
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Takes the working database away, whoever is connected to it.
pub(super) async fn drop_database(session: &Session, name: &str) -> Result<(), RestoreError> {
    let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", ident(name));
    session.run(&sql, "dropping the working database").await?;
    Ok(())
}

/// As in the source, as a server of that version is told it.
pub(crate) fn first_locale(facts: &DatabaseFacts, server_major: u32) -> String {
    let first = locales(facts, server_major).into_iter().next();
    first.unwrap_or_default()
}

/// As in the source; else the server's own; else the one that goes with every encoding.
fn locales(facts: &DatabaseFacts, server_major: u32) -> Vec<String> {
    let mut libc = format!(
        " LC_COLLATE {} LC_CTYPE {}",
        literal(&facts.lc_collate),
        literal(&facts.lc_ctype)
    );
    let mut tried = Vec::new();
    let locale = facts.locale.as_deref().map(literal).unwrap_or_default();
    if provider_is_known(&facts.locale_provider, server_major) {
        match facts.locale_provider.as_str() {
            "i" => {
                let rules = facts.icu_rules.as_ref().filter(|_| server_major >= 16);
                let rules = rules.map_or(String::new(), |r| format!(" ICU_RULES {}", literal(r)));
                tried.push(format!(
                    "{libc} LOCALE_PROVIDER icu ICU_LOCALE {locale}{rules}"
                ));
            }
            "b" => tried.push(format!(
                "{libc} LOCALE_PROVIDER builtin BUILTIN_LOCALE {locale}"
            )),
            _ => {
                if server_major >= 15 {
                    libc.push_str(" LOCALE_PROVIDER libc");
                }
                tried.push(libc);
            }
        }
    }
    let plain = " LC_COLLATE 'C' LC_CTYPE 'C'";
    let provider = match server_major {
        14 => "",
        _ => " LOCALE_PROVIDER libc",
    };
    tried.push(String::new());
    tried.push(format!("{plain}{provider}"));
    tried
}

fn is_about_locale(error: &PostgresError) -> bool {
    matches!(
        error.sql_state(),
        Some(
            SqlState::WRONG_OBJECT_TYPE
                | SqlState::INVALID_PARAMETER_VALUE
                | SqlState::FEATURE_NOT_SUPPORTED
                | SqlState::INTERNAL_ERROR
        )
    )
}

/// Everything that rows need: schemas, types, functions, tables, views, large objects.
pub(super) async fn make_objects(
    destination: &Destination,
    dictionary: &Dictionary,
    decisions: &Decisions,
    request: &RestoreRequest,
) -> Result<(), RestoreError> {
    let session = destination.inside().await?;
    large_objects::make(&session, dictionary).await?;
    session.close().await;
    let progress = &*request.progress;
    let failed = make_all(destination, dictionary, decisions, progress, AtAnError::End).await?;
    none_may_fail("making what rows need", &failed)
}

/// What an error of pg_restore means for what comes behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtAnError {
    /// Nothing more is made.
    End,
    /// The rest is made nevertheless.
    GoOn,
}

/// All that the dictionary has for before the rows; answers what failed.
pub(super) async fn make_all(
    destination: &Destination,
    dictionary: &Dictionary,
    decisions: &Decisions,
    progress: &dyn Progress,
    at_an_error: AtAnError,
) -> Result<Vec<ToolError>, RestoreError> {
    let session = destination.inside().await?;
    schema_public(&session, &dictionary.facts, decisions, progress).await?;
    loan::lend_database(&session, destination, dictionary, decisions).await?;
    let entries: Vec<&Entry> = dictionary.before_rows.of_step(Step::Objects);
    let entries: Vec<&Entry> = entries
        .into_iter()
        .filter(|entry| is_wanted(entry, &dictionary.facts, decisions, progress))
        .collect();
    // Schemas come first, and what lies in them needs rights there.
    let schemas = entries.iter().rposition(|entry| entry.kind == "SCHEMA");
    let (schemas, others) = entries.split_at(schemas.map_or(0, |last| last + 1));
    let mut failed = make(schemas, dictionary, decisions, at_an_error).await?;
    if failed.is_empty() || at_an_error == AtAnError::GoOn {
        loan::lend_schemas(&session, dictionary, decisions, &[]).await?;
        failed.extend(make(others, dictionary, decisions, at_an_error).await?);
    }
    session.close().await;
    Ok(failed)
}

/// Makes these entries, in their order.
pub(super) async fn make(
    entries: &[&Entry],
    dictionary: &Dictionary,
    decisions: &Decisions,
    at_an_error: AtAnError,
) -> Result<Vec<ToolError>, RestoreError> {
    let mut failed = Vec::new();
    for (manner, run) in runs(entries.iter().copied(), dictionary, decisions) {
        let list = dictionary.list_of("before-rows", run)?;
        let mut arguments = arguments(manner);
        if decisions.server_major >= 17 && at_an_error == AtAnError::End {
            // Before 17 a setting that the dump makes is not known, and must not end the run.
            arguments.push("--exit-on-error".to_owned());
        }
        let program = &dictionary.program;
        let ran = program
            .restore(&dictionary.dump(), &list, &arguments, &mut |_| ())
            .await?;
        failed.extend(ran.errors());
        if !failed.is_empty() && at_an_error == AtAnError::End {
            break;
        }
    }
    Ok(failed)
}

/// How entries are restored: with their owners, and in their tablespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Manner {
    owned: bool,
    placed: bool,
}

/// The arguments that a run of pg_restore in that manner has.
pub(super) fn arguments(manner: Manner) -> Vec<String> {
    let mut arguments = Vec::new();
    if !manner.owned {
        arguments.push("--no-owner".to_owned());
    }
    if !manner.placed {
        arguments.push("--no-tablespaces".to_owned());
    }
    arguments
}

/// Cuts the entries, in their order, into stretches that are restored in one manner.
pub(super) fn runs<'a>(
    entries: impl IntoIterator<Item = &'a Entry>,
    dictionary: &Dictionary,
    decisions: &Decisions,
) -> Vec<(Manner, Vec<&'a Entry>)> {
    let owners = &dictionary.facts.needs.owners;
    let mut runs: Vec<(Manner, Vec<&Entry>)> = Vec::new();
    for entry in entries {
        let owner = entry.owner(owners);
        let owned = owner.is_none_or(|owner| {
            let mut left_out = decisions.owners_left_out.iter();
            !left_out.any(|left_out| left_out == owner)
        });
        let placed = !decisions.misplaced.contains(&entry.id);
        let manner = Manner { owned, placed };
        match runs.last_mut() {
            Some((last, run)) if *last == manner => run.push(entry),
            _ => runs.push((manner, vec![entry])),
        }
    }
    runs
}

fn is_wanted(
    entry: &Entry,
    facts: &DatabaseFacts,
    decisions: &Decisions,
    progress: &dyn Progress,
) -> bool {
    // Up to 14 the schema public belongs to the server's first superuser.
    let public_is_ours = decisions.superuser || decisions.server_major >= 15;
    if entry.is_schema_public() {
        let owner = entry.owner(&facts.needs.owners);
        if owner.is_some() && !public_is_ours {
            progress.warning("the schema public keeps its owner: on PostgreSQL 14 only a superuser may give it to somebody".into());
        }
        return owner.is_some() && public_is_ours;
    }
    if entry.comments_on_schema_public() && !public_is_ours {
        progress.warning("the comment on the schema public is left out: on PostgreSQL 14 only a superuser may write it".into());
        return false;
    }
    let absent = decisions.absent_roles.iter();
    let mut mappings = absent.map(|role| format!("- USER MAPPING {role} SERVER "));
    !(entry.kind == "USER MAPPING" && mappings.any(|start| entry.rest.starts_with(&start)))
}

/// template0 has the schema public, and on 14 everybody may make objects in it; the source may
/// have changed both.
async fn schema_public(
    session: &Session,
    facts: &DatabaseFacts,
    decisions: &Decisions,
    progress: &dyn Progress,
) -> Result<(), RestoreError> {
    // A saveset that does not say which schemas there are does not tell the block size either.
    if facts.needs.block_size == 0 {
        return Ok(());
    }
    let there = facts.needs.schemas.iter().any(|name| name == "public");
    let closed = facts.needs.public_schema_open == Some(false);
    let sql = match (there, decisions.server_major) {
        (false, _) => "DROP SCHEMA public",
        // Of such a server pg_dump does not say it.
        (true, 14) if closed => "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        (true, _) => return Ok(()),
    };
    if decisions.superuser || decisions.server_major >= 15 {
        session.run(sql, "setting up the schema public").await?;
    } else {
        progress.warning(format!(
            "on PostgreSQL 14 only a superuser may change the schema public: run {sql} in the restored database"
        ));
    }
    Ok(())
}

/// The first errors in one text.
pub(super) fn none_may_fail(doing: &'static str, errors: &[ToolError]) -> Result<(), RestoreError> {
    if errors.is_empty() {
        return Ok(());
    }
    let told: Vec<&str> = errors
        .iter()
        .take(ERRORS_TOLD)
        .map(|error| error.message.as_str())
        .collect();
    let mut text = told.join("; ");
    if errors.len() > ERRORS_TOLD {
        text.push_str(&format!(" (and {} more)", errors.len() - ERRORS_TOLD));
    }
    Err(RestoreError::Dictionary {
        doing,
        errors: text,
    })
}
