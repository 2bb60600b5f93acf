//! An export: a saveset of one database as plain files, without a server.
//!
//! [`open`] gives a [`Target`] like a restore's, so that an export is a restore into another place
//! and goes the same checked path. What it makes in the directory of its database:
//!
//! | file | what it is |
//! |---|---|
//! | `load.sql` | loads everything, in order, into the empty database that psql is connected to |
//! | `create.sql` | makes the database as it was, connects, and runs `load.sql` |
//! | `globals.sql` | roles, memberships, tablespaces, as pg_dumpall wrote them |
//! | `schema-before-rows.sql`, `schema-after-rows.sql`, `rights.sql`, `event-triggers.sql` | pg_restore's own words; `schema.dump` is what they come from |
//! | `rows.sql`, `rows/` | one file a table, and the commands that load them |
//! | `sequences.sql`, `large-objects.sql`, `views.sql`, `settings.sql` | the rest |
//! | `index.json` | which file is which object |
//!
//! Nothing of a name is ever part of a comment or of a command of psql that ends with its line: a
//! name may hold anything, and a loaded file is a program.

mod csv;
mod fault;
mod files;
mod index;
mod load;
mod nested;
mod part;
mod rows;
mod schema;
mod script;
mod target;
mod values;
mod walk;

use model::{ExportPlace, Outcome, RestoreRequest, SiteType, Target};

use crate::engine::PostgresEngine;
use fault::ExportError;
use target::ExportTarget;

/// Opens an export; nothing is written yet.
pub(crate) fn open(
    engine: &PostgresEngine,
    place: &ExportPlace,
    request: RestoreRequest,
) -> Outcome<Box<dyn Target>> {
    if request.source_type != SiteType::Postgresql {
        return Err(ExportError::OtherEngine.into());
    }
    let directories = engine.options().tool_directories.clone();
    Ok(Box::new(ExportTarget::new(directories, place, request)))
}
