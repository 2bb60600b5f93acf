//! What stands at the target's name.

use model::{RestoreRequest, Scope};

use super::Look;
use crate::restore::destination::Destination;
use crate::restore::fault::RestoreError;
use crate::restore::quote::ident;
use crate::session::Session;

pub(super) async fn look(
    look: &mut Look,
    session: &Session,
    destination: &Destination,
    request: &RestoreRequest,
) -> Result<(), RestoreError> {
    let name = &destination.target;
    let sql = include_str!("../../../sql/target_database_14.sql");
    let doing = "looking for the target database";
    let rows = session.rows(sql, &[name], doing).await?;
    let Some(row) = rows.first() else {
        return Ok(());
    };
    look.decisions.target_is_there = true;
    let (is_template, may_look, is_ours): (bool, bool, bool) = (row.get(1), row.get(2), row.get(3));
    let sessions: i64 = row.get(4);
    if is_template {
        look.obstacle(
            "target-is-template",
            format!("{name:?} is a template of the server"),
            "restore under another name".to_owned(),
        );
        return Ok(());
    }
    let held = match may_look {
        true => holds(destination, name).await?,
        false => Some("it may not be looked into".to_owned()),
    };
    if held.is_some() && matches!(request.selection.scope, Scope::Only(_)) {
        if !may_look {
            let role = ident(&look.role);
            look.obstacle(
                "missing-right",
                format!("the database {name:?} is there, and {role} may not connect to it"),
                format!("GRANT CONNECT ON DATABASE {} TO {role}", ident(name)),
            );
        }
        look.decisions.into_target = may_look;
        return Ok(());
    }
    if !is_ours {
        let role = ident(&look.role);
        look.obstacle(
            "missing-right",
            format!("the database {name:?} is there, and {role} may not rename it"),
            format!("make {role} a member of its owner, or restore under another name"),
        );
    }
    if let Some(held) = held {
        filled(look, name, &held, request);
    }
    look.sessions = sessions;
    Ok(())
}

fn filled(look: &mut Look, name: &str, held: &str, request: &RestoreRequest) {
    let another = "restore under another name";
    if !request.replace_existing {
        look.obstacle(
            "target-not-empty",
            format!("the database {name:?} is there and not empty: {held}"),
            format!("{another}, or ask with replace_existing: the old one is then kept aside"),
        );
    } else if request.as_copy {
        look.obstacle(
            "target-exists",
            format!("the database {name:?} is there and not empty: {held}"),
            format!("{another}: a copy replaces nothing, or set run_as_a_copy_job to false"),
        );
    }
}

/// What a database holds, as a person reads it; `None`: nothing.
pub(in crate::restore) async fn holds(
    destination: &Destination,
    database: &str,
) -> Result<Option<String>, RestoreError> {
    let session = destination.open(database).await?;
    let sql = include_str!("../../../sql/database_holds_14.sql");
    let doing = "looking whether the target database is empty";
    let rows = session.rows(sql, &[], doing).await?;
    let held: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    session.close().await;
    Ok(match held.as_slice() {
        [] => None,
        [first] => Some(first.clone()),
        [first, ..] => Some(format!("{first} and more")),
    })
}
