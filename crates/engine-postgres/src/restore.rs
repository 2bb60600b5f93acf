//! Restoring one database, or objects of it.
//!
//! [`open`] gives a [`Target`] whose steps are one file each, in this order:
//!
//! | step | file | what it does |
//! |---|---|---|
//! | findings | `findings` and below it | looks, changes nothing, and decides what is left out |
//! | DICTIONARY | `wanted`, `scratch` | where not all is wanted, or under other names: a scratch database gives the dictionary |
//! | DICTIONARY | `prepare`, `loan` | makes the working database and everything that rows need |
//! | DATA | `load`, `pages` | COPY FROM STDIN; pages of large objects |
//! | BUILD | `build` | indexes, keys, triggers, policies |
//! | POSTSCRIPT | `postscript`, `rights`, `settings`, `large_objects`, `statistics` | values, grants, refreshes, settings |
//! | publish | `publish` | renames the result into place; what stood there is kept |
//!
//! A database is restored beside the old one under a *working name* and renamed at the end, so
//! that a restore that fails, or was a mistake, loses nothing. Objects that go into a database that
//! is there have their own form of each step, below `objects`: working schemas, and a swap. Everything runs with the database
//! credentials of the request: the recommended role is no superuser, but LOGIN, CREATEDB and a
//! member of the owners.
//!
//! What decides about the source (which roles, extensions, collations its objects need) is read
//! by the other half of this crate through [`needs::read`] and lies in the saveset.

mod build;
mod destination;
mod dictionary;
mod fault;
mod findings;
mod globals;
mod large_objects;
mod load;
mod loan;
mod messages;
pub(crate) mod needs;
mod objects;
mod pages;
mod permissions;
mod postscript;
mod prepare;
mod program;
mod publish;
mod quote;
mod rights;
mod scratch;
mod settings;
mod statements;
mod statistics;
mod target;
mod toc;
mod wanted;

use model::{Connection, Credentials, Outcome, RestoreRequest, Target};

use crate::engine::PostgresEngine;
use destination::Destination;
pub(crate) use dictionary::{database_facts, json_line, whole_part};
pub(crate) use fault::RestoreError;
pub(crate) use load::{HEADER as COPY_HEADER, TRAILER as COPY_TRAILER, facts_of};
pub(crate) use permissions::missing;
pub(crate) use prepare::first_locale as database_locale;
pub(crate) use quote::{ident, literal, qualified};
use target::PostgresTarget;
pub(crate) use target::page_bytes;
pub(crate) use toc::{Entry, Step, Toc, list};

use crate::facts::{DatabaseFacts, LargeObjectFacts};

/// Everything that belongs to the database itself, as statements; `name` as SQL writes it.
pub(crate) fn database_statements(name: &str, facts: &DatabaseFacts) -> Vec<String> {
    settings::statements(name, facts, &findings::Decisions::default())
}

/// Comment, owner and grants of a large object.
pub(crate) fn large_object_statements(object: &LargeObjectFacts) -> Vec<String> {
    large_objects::statements(object, &findings::Decisions::default())
}

/// Opens the place that a saveset is restored to: connects, and changes nothing.
pub(crate) async fn open(
    engine: &PostgresEngine,
    connection: &Connection,
    credentials: Option<&Credentials>,
    request: RestoreRequest,
) -> Outcome<Box<dyn Target>> {
    let destination = Destination::of(
        connection,
        credentials,
        &request,
        engine.options().node.as_deref(),
    )?;
    // Credentials that the database refuses are told before anything else is looked at.
    destination.beside().await?.close().await;
    Ok(Box::new(PostgresTarget::new(engine, destination, request)))
}
