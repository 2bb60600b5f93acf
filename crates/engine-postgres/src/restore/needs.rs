//! What a database needs of a server that it is restored to; read from the source.

use crate::error::PostgresError;
use crate::facts::{ExtensionFacts, QualifiedName, RestoreNeeds};
use crate::session::Session;

const DOING: &str = "reading what a restore needs";

/// Reads it in the transaction of the session. Any role may: all of it stands in catalogs that
/// everybody can read.
pub(crate) async fn read(session: &Session) -> Result<RestoreNeeds, PostgresError> {
    let extensions = include_str!("../../sql/needed_extensions_14.sql");
    let extensions = session.rows(extensions, &[], DOING).await?;
    let views = include_str!("../../sql/unfilled_views_14.sql");
    let views = session.rows(views, &[], DOING).await?;
    let block_size = "SELECT pg_catalog.current_setting('block_size')::pg_catalog.int4";
    let block_size: i32 = session.row(block_size, &[], DOING).await?.get(0);
    let owners = include_str!("../../sql/needed_owners_14.sql");
    let grantees = include_str!("../../sql/needed_grantees_14.sql");
    let tablespaces = include_str!("../../sql/needed_tablespaces_14.sql");
    let schemas = include_str!("../../sql/user_schemas_14.sql");
    let collations = include_str!("../../sql/needed_collations_14.sql");
    let open = include_str!("../../sql/public_schema_open_14.sql");
    let open = session.rows(open, &[], DOING).await?;
    Ok(RestoreNeeds {
        public_schema_open: open.first().map(|row| row.get(0)),
        owners: names(session, owners).await?,
        grantees: names(session, grantees).await?,
        tablespaces: names(session, tablespaces).await?,
        schemas: names(session, schemas).await?,
        collations: names(session, collations).await?,
        extensions: extensions
            .iter()
            .map(|row| ExtensionFacts {
                name: row.get(0),
                version: row.get(1),
            })
            .collect(),
        unfilled_views: views
            .iter()
            .map(|row| QualifiedName {
                schema: row.get(0),
                name: row.get(1),
            })
            .collect(),
        block_size: block_size.unsigned_abs(),
    })
}

async fn names(session: &Session, sql: &str) -> Result<Vec<String>, PostgresError> {
    let rows = session.rows(sql, &[], DOING).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
