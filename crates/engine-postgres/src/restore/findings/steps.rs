//! What will be done, step by step: the plan of a dry run.

use model::{RestoreRequest, RestoreTable};

use super::Look;
use crate::restore::destination::Destination;
use crate::restore::wanted::{Wanted, Way};

/// Tells the steps.
pub(super) fn tell(
    look: &mut Look,
    destination: &Destination,
    request: &RestoreRequest,
    wanted: &Wanted,
    tables: &[&RestoreTable],
) {
    let (working, target) = (&destination.working, &destination.target);
    let mut steps = Vec::new();
    if wanted.way != Way::AsSaved {
        steps.push(format!(
            "make the scratch database {:?} of the saveset's objects without rows, leave out, rename and move there what is asked for, and drop it again",
            destination.scratch().working
        ));
    }
    match wanted.way {
        Way::IntoTarget => {
            let schemas = wanted.working_schemas().iter();
            let schemas: Vec<&str> = schemas.map(|schema| &*schema.working).collect();
            steps.push(format!(
                "make the working schemas {schemas:?} in the database {target:?}, and in them the objects"
            ));
        }
        _ => steps.push(format!(
            "make the database {working:?} and in it types, functions, tables and views"
        )),
    }
    steps.append(&mut look.steps);
    steps.extend(with_the_rows(request, tables));
    match wanted.way {
        Way::IntoTarget => {
            steps.append(&mut look.last_steps);
            let chosen = wanted.chosen().iter();
            steps.extend(chosen.map(|chosen| format!("put {} into its place", chosen.title())));
        }
        _ => {
            if look.decisions.target_is_there {
                let sessions = look.sessions;
                steps.push(format!(
                    "end the sessions in {target:?} ({sessions} now), rename it so that its new name says when and why"
                ));
            }
            steps.push(format!("rename {working:?} to {target:?}"));
        }
    }
    steps.push(
        "PostgreSQL does not tell over SQL how much disk is free: see that there is room for the rows, and about as much again for indexes".into(),
    );
    look.findings.steps = steps;
}

fn with_the_rows(request: &RestoreRequest, tables: &[&RestoreTable]) -> [String; 3] {
    let rows: u64 = tables.iter().map(|table| table.rows).sum();
    let (tables, streams) = (tables.len(), request.streams);
    let indexes = match request.skip_indexes {
        true => "keys, unique indexes",
        false => "keys, indexes",
    };
    let statistics = match request.skip_statistics {
        true => "",
        false => ", gather statistics",
    };
    [
        format!(
            "load {rows} rows into {tables} tables with {streams} streams; this runs code of the saveset: checks of columns and domains"
        ),
        format!(
            "make {indexes}, triggers and policies, {streams} at a time; expressions of indexes are run"
        ),
        format!("set sequences, grants and settings, fill materialized views{statistics}"),
    ]
}
