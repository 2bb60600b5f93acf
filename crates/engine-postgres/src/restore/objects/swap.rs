//! publish: one transaction in which the old objects are moved aside and the new ones to their
//! names. Whoever crashes, there is either the old state or the new.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Fault, ObjectName, Published, RestoreRequest};
use tokio::time::Instant;
use tokio_postgres::error::SqlState;

use super::old::{self, Names, Old};
use crate::error::PostgresError;
use crate::restore::destination::{Destination, kept_name};
use crate::restore::fault::RestoreError;
use crate::restore::findings::hindrances;
use crate::restore::quote::{ident, literal};
use crate::restore::scratch::Reshaped;
use crate::restore::wanted::{Wanted, WorkingSchema};
use crate::session::Session;

/// How long one try waits for each lock: who waits holds up whoever comes after.
const LOCK_WAIT: &str = "SET LOCAL lock_timeout = '2s'";

/// How long it is tried.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long between two tries: those that were held up get their turn.
const PAUSE: Duration = Duration::from_secs(1);

const DOING: &str = "moving what was restored into its place";

/// Puts the restored objects in their places.
pub(in crate::restore) async fn swap(
    destination: &Destination,
    reshaped: &Reshaped,
    wanted: &Wanted,
    request: &RestoreRequest,
) -> Result<Published, RestoreError> {
    let session = destination.inside().await?;
    // Rows were committed without waiting for the disk; this commit waits for them all.
    let durably = "SET synchronous_commit = on";
    session.run(durably, "making the result durable").await?;
    let swap = Swap::of(&session, reshaped, wanted, request);
    let done = swap.patiently().await;
    let (kept, validate) = match done {
        Ok(done) => done,
        Err(error) if is_lost(&error) => (settle(destination, wanted, error).await?, Vec::new()),
        Err(error) => return Err(error),
    };
    for sql in validate {
        // What does not hold was told before; it stays, for new rows.
        if let Err(error) = session.run(&sql, "checking a foreign key").await {
            let sentence = (&error as &dyn Fault).sentence();
            request
                .progress
                .warning(format!("{sentence}; once it holds, run {sql}"));
        }
    }
    session.close().await;
    let mut kept = kept.into_iter();
    let first = kept.next();
    for more in kept {
        request.progress.note(format!(
            "more of what stood there is kept in the schema {more:?}"
        ));
    }
    Ok(Published {
        database: ObjectName::one(&destination.target),
        kept: first.map(|schema| ObjectName::two(&destination.target, schema)),
    })
}

/// The names that the restored objects take.
pub(in crate::restore) fn names(reshaped: &Reshaped, wanted: &Wanted) -> Names {
    let whole = wanted.working_schemas().iter().filter(|s| s.whole);
    let schemas: Vec<String> = whole.map(|schema| schema.schema.clone()).collect();
    let relations = reshaped.relations.iter().map(|relation| &relation.to);
    let relations = relations.filter(|name| !schemas.contains(&name.schema));
    Names {
        relations: relations.cloned().collect(),
        schemas,
    }
}

/// Looks once more, now that partitions and sequences are known by name, before anything is made.
pub(in crate::restore) async fn may_begin(
    destination: &Destination,
    reshaped: &Reshaped,
    wanted: &Wanted,
    request: &RestoreRequest,
) -> Result<(), RestoreError> {
    let session = destination.inside().await?;
    let swap = Swap::of(&session, reshaped, wanted, request);
    let old = old::look(&session, &swap.names).await?;
    let schemas = swap.schemas().await?;
    let may = swap.may_be_replaced(&old, &schemas);
    session.close().await;
    may
}

struct Swap<'a> {
    session: &'a Session,
    reshaped: &'a Reshaped,
    wanted: &'a Wanted,
    request: &'a RestoreRequest,
    names: Names,
}

/// The kept schemas, and the statements that check others' keys afterwards.
type Done = (Vec<String>, Vec<String>);

impl<'a> Swap<'a> {
    fn of(
        session: &'a Session,
        reshaped: &'a Reshaped,
        wanted: &'a Wanted,
        request: &'a RestoreRequest,
    ) -> Self {
        Swap {
            session,
            reshaped,
            wanted,
            request,
            names: names(reshaped, wanted),
        }
    }

    /// Tries until all locks are given, bounded.
    async fn patiently(&self) -> Result<Done, RestoreError> {
        let start = Instant::now();
        loop {
            let tried = self.once().await;
            let Err(error) = tried else {
                return tried;
            };
            let RestoreError::Postgres(cause) = &error else {
                self.give_up().await?;
                return Err(error);
            };
            let again = cause.is_lock_timeout()
                || cause.sql_state() == Some(SqlState::T_R_DEADLOCK_DETECTED);
            if cause.sql_state().is_none() {
                return Err(error);
            }
            self.give_up().await?;
            if !again {
                return Err(error);
            }
            if start.elapsed() > PATIENCE {
                return Err(self.held_up(start.elapsed()).await?);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn give_up(&self) -> Result<(), RestoreError> {
        self.session.run("ROLLBACK", "giving up a swap").await?;
        Ok(())
    }

    async fn once(&self) -> Result<Done, RestoreError> {
        let begin = format!("BEGIN; {LOCK_WAIT}");
        self.session.run(&begin, DOING).await?;
        let seen = old::relations(self.session, &self.names).await?;
        self.lock(&seen).await?;
        let old = old::look(self.session, &self.names).await?;
        let schemas = self.schemas().await?;
        self.may_be_replaced(&old, &schemas)?;
        let at = jiff::Timestamp::now();
        let kept = self.kept_names(&old, &schemas, at);
        let mut statements: Vec<String> = Vec::new();
        statements.extend(old.published.iter().map(|p| p.drop.clone()));
        statements.extend(old.bound.iter().filter_map(|bound| bound.first.clone()));
        statements.extend(old.own_keys.iter().map(|key| key.drop.clone()));
        self.move_aside(&old, &kept, &mut statements, at).await?;
        self.move_in(&schemas, &mut statements).await?;
        statements.extend(self.inherit());
        statements.extend(
            old.bound
                .iter()
                .filter_map(|bound| bound.then_again.clone()),
        );
        statements.extend(old.published.iter().map(|p| p.add.clone()));
        for sql in &statements {
            self.session.run(sql, DOING).await?;
        }
        self.session.run("COMMIT", DOING).await?;
        let validate = old.bound.iter().filter_map(|bound| bound.validate.clone());
        Ok((kept.into_values().collect(), validate.collect()))
    }

    /// Everything that will change, in one order, before anything does.
    async fn lock(&self, seen: &[old::OldRelation]) -> Result<(), RestoreError> {
        let mut tables: Vec<String> = seen
            .iter()
            // Who may rename a schema may not lock what others have in it; that moves with it.
            .filter(|old| old.is_table() && !self.names.schemas.contains(&old.name.schema))
            .map(|old| old.name.sql())
            .collect();
        let new = self.reshaped.relations.iter();
        let new = new.filter(|relation| relation.kind == "TABLE");
        tables.extend(new.map(|relation| relation.working.sql()));
        if tables.is_empty() {
            return Ok(());
        }
        let tables = tables.join(", ONLY ");
        let sql = format!("LOCK TABLE ONLY {tables} IN ACCESS EXCLUSIVE MODE");
        self.session.run(&sql, DOING).await?;
        Ok(())
    }

    /// The schemas that are there of those that something goes to.
    async fn schemas(&self) -> Result<Vec<String>, RestoreError> {
        let wanted = self.wanted.working_schemas().iter();
        let wanted: Vec<&str> = wanted.map(|schema| &*schema.schema).collect();
        let sql =
            "SELECT nspname::pg_catalog.text FROM pg_catalog.pg_namespace WHERE nspname = ANY ($1)";
        let rows = self.session.rows(sql, &[&wanted], DOING).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// What the findings allowed may have changed in the meantime.
    fn may_be_replaced(&self, old: &Old, schemas: &[String]) -> Result<(), RestoreError> {
        let mut whole = self.names.schemas.iter();
        let there = match old.relations.first() {
            Some(first) => Some(first.name.sql()),
            None => whole.find(|schema| schemas.contains(schema)).cloned(),
        };
        if let Some(name) = there.filter(|_| self.request.as_copy) {
            return Err(RestoreError::NameTaken { name });
        }
        let hindrances: Vec<String> = hindrances(old).into_iter().map(|o| o.detail).collect();
        if hindrances.is_empty() {
            return Ok(());
        }
        Err(RestoreError::Obstacles {
            obstacles: hindrances.join("; "),
        })
    }

    /// Where what stood there goes, by the schema that it is in.
    fn kept_names(
        &self,
        old: &Old,
        schemas: &[String],
        at: jiff::Timestamp,
    ) -> BTreeMap<String, String> {
        let id = self.request.server_execution_id;
        let whole = self.names.schemas.iter();
        let whole = whole.filter(|schema| schemas.contains(schema));
        let single = old.relations.iter().map(|old| &old.name.schema);
        whole
            .chain(single)
            .map(|schema| (schema.clone(), kept_name(id, schema, at)))
            .collect()
    }

    async fn move_aside(
        &self,
        old: &Old,
        kept: &BTreeMap<String, String>,
        statements: &mut Vec<String>,
        at: jiff::Timestamp,
    ) -> Result<(), RestoreError> {
        for (schema, kept) in kept {
            let kept = ident(kept);
            if self.names.schemas.contains(schema) {
                statements.push(format!("ALTER SCHEMA {} RENAME TO {kept}", ident(schema)));
            } else {
                statements.push(format!("CREATE SCHEMA {kept}"));
            }
            let comment = self.comment(schema, old, at);
            statements.push(format!("COMMENT ON SCHEMA {kept} IS {}", literal(&comment)));
        }
        let oids: Vec<u32> = old.oids();
        let sql = "SELECT pg_catalog.format('ALTER TABLE %s NO INHERIT %s', i.inhrelid::pg_catalog.regclass, i.inhparent::pg_catalog.regclass)
                     FROM pg_catalog.pg_inherits i
                     JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND NOT c.relispartition AND c.relkind <> 'i'
                    WHERE i.inhrelid = ANY ($1) AND i.inhparent <> ALL ($1)";
        // Kept, their rows would still be seen through the tables that they inherit from.
        for row in self.session.rows(sql, &[&oids], DOING).await? {
            statements.insert(0, row.get(0));
        }
        let single = old.relations.iter();
        let single = single.filter(|old| !self.names.schemas.contains(&old.name.schema));
        for relation in single.clone().filter(|old| !old.goes_with_another) {
            let schema = ident(&kept[&relation.name.schema]);
            let owner = ident(&relation.owner);
            let name = relation.name.sql();
            statements.push(format!("ALTER TABLE {name} SET SCHEMA {schema}"));
            statements.push(format!("GRANT USAGE ON SCHEMA {schema} TO {owner}"));
        }
        let oids: Vec<u32> = single.map(|old| old.oid).collect();
        let sql = "SELECT n.nspname::pg_catalog.text, x.stxname::pg_catalog.text, t.nspname::pg_catalog.text
                     FROM pg_catalog.pg_statistic_ext x
                     JOIN pg_catalog.pg_namespace n ON n.oid = x.stxnamespace
                     JOIN pg_catalog.pg_class c ON c.oid = x.stxrelid
                     JOIN pg_catalog.pg_namespace t ON t.oid = c.relnamespace
                    WHERE x.stxrelid = ANY ($1)";
        for row in self.session.rows(sql, &[&oids], DOING).await? {
            let (schema, name, of): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
            let (schema, name, kept) = (ident(schema), ident(name), ident(&kept[of]));
            statements.push(format!(
                "ALTER STATISTICS {schema}.{name} SET SCHEMA {kept}"
            ));
        }
        Ok(())
    }

    /// What is to be known of a kept schema, where it will be looked for.
    fn comment(&self, schema: &str, old: &Old, at: jiff::Timestamp) -> String {
        let mut text = format!(
            "Stood in {} until Backstay's restore {} put it aside at {}.",
            ident(schema),
            self.request.server_execution_id,
            at.strftime("%Y-%m-%dT%H:%M:%SZ")
        );
        let keys = old.own_keys.iter().filter(|key| key.table.schema == schema);
        let keys: Vec<String> = keys
            .map(|key| format!("{} {}", ident(&key.table.name), key.add))
            .collect();
        if !keys.is_empty() {
            text.push_str(" Foreign keys that were dropped here: ");
            text.push_str(&keys.join("; "));
        }
        text
    }

    async fn move_in(
        &self,
        schemas: &[String],
        statements: &mut Vec<String>,
    ) -> Result<(), RestoreError> {
        for schema in self.wanted.working_schemas() {
            let (working, to) = (ident(&schema.working), ident(&schema.schema));
            if schema.whole || !schemas.contains(&schema.schema) {
                statements.push(format!("ALTER SCHEMA {working} RENAME TO {to}"));
                let owner = self.reshaped.owner_of(&schema.schema);
                if let Some(owner) = owner.filter(|_| !schema.whole) {
                    statements.push(format!("ALTER SCHEMA {to} OWNER TO {}", ident(owner)));
                }
                continue;
            }
            self.move_relations(schema, statements).await?;
            statements.push(format!("DROP SCHEMA {working}"));
        }
        Ok(())
    }

    /// What inherits from tables that stay does so from now on.
    fn inherit(&self) -> Vec<String> {
        let heirs = self.reshaped.bonds.heirs.iter();
        let statements = heirs.filter_map(|heir| {
            let mut all = self.reshaped.relations.iter();
            let table = all.find(|relation| relation.working == heir.table)?;
            let (table, parent) = (table.to.sql(), &heir.parent);
            Some(format!("ALTER TABLE {table} INHERIT {parent}"))
        });
        statements.collect()
    }

    async fn move_relations(
        &self,
        schema: &WorkingSchema,
        statements: &mut Vec<String>,
    ) -> Result<(), RestoreError> {
        let to = ident(&schema.schema);
        let here = self.reshaped.relations.iter();
        for relation in here.filter(|relation| {
            relation.working.schema == schema.working && !relation.goes_with_another
        }) {
            let name = relation.working.sql();
            statements.push(format!("ALTER TABLE {name} SET SCHEMA {to}"));
        }
        let sql = "SELECT x.stxname::pg_catalog.text FROM pg_catalog.pg_statistic_ext x
                     JOIN pg_catalog.pg_namespace n ON n.oid = x.stxnamespace WHERE n.nspname = $1";
        for row in self.session.rows(sql, &[&schema.working], DOING).await? {
            let (working, name) = (ident(&schema.working), ident(row.get(0)));
            statements.push(format!("ALTER STATISTICS {working}.{name} SET SCHEMA {to}"));
        }
        Ok(())
    }

    async fn held_up(&self, waited: Duration) -> Result<RestoreError, RestoreError> {
        let seen = old::relations(self.session, &self.names).await?;
        let oids: Vec<u32> = seen.iter().map(|old| old.oid).collect();
        let sql = include_str!("../../../sql/lock_holders_of_14.sql");
        let rows = self.session.rows(sql, &[&oids], DOING).await?;
        let holders: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let holders = match holders.is_empty() {
            true => "who held it has just left".to_owned(),
            false => holders.join(", "),
        };
        Ok(RestoreError::Postgres(PostgresError::Locked {
            seconds: waited.as_secs(),
            holders,
        }))
    }
}

fn is_lost(error: &RestoreError) -> bool {
    matches!(error, RestoreError::Postgres(error) if matches!(error, PostgresError::Lost { .. })
        || matches!(error, PostgresError::Query { .. }) && error.sql_state().is_none())
}

/// The connection broke under the swap: looks which state there is.
async fn settle(
    destination: &Destination,
    wanted: &Wanted,
    error: RestoreError,
) -> Result<Vec<String>, RestoreError> {
    let unknown = || RestoreError::ObjectsUnknown {
        database: destination.target.clone(),
    };
    let session = destination.inside().await.map_err(|_| unknown())?;
    let working = wanted.working_schemas().iter();
    let working: Vec<&str> = working.map(|schema| &*schema.working).collect();
    let sql = "SELECT FROM pg_catalog.pg_namespace WHERE nspname = ANY ($1)";
    let there = session.rows(sql, &[&working], DOING).await;
    match there.map_err(|_| unknown())?.is_empty() {
        // It is one transaction: they are there, so nothing was moved.
        false => Err(error),
        true => Ok(Vec::new()),
    }
}

/// Foreign keys of others that would not hold on what is restored, a sentence each.
pub(in crate::restore) async fn keys_that_will_not_hold(
    destination: &Destination,
    reshaped: &Reshaped,
    wanted: &Wanted,
) -> Result<Vec<String>, RestoreError> {
    let session = destination.inside().await?;
    let names = names(reshaped, wanted);
    let seen = old::relations(&session, &names).await?;
    let oids: Vec<u32> = seen.iter().map(|old| old.oid).collect();
    let doing = "checking foreign keys of other tables";
    let sql = include_str!("../../../sql/keys_of_others_14.sql");
    let mut errors = Vec::new();
    for row in session.rows(sql, &[&oids], doing).await? {
        let (what, other, start, end): (&str, u32, &str, &str) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        let old = seen.iter().find(|old| old.oid == other);
        let new = old.and_then(|old| {
            let mut all = reshaped.relations.iter();
            all.find(|relation| relation.to == old.name)
        });
        let Some(new) = new else { continue };
        let sql = format!("{start}{}{end}", new.working.sql());
        if !session.rows(&sql, &[], doing).await?.is_empty() {
            errors.push(format!(
                "{what} does not hold on what was restored: rows there refer to rows that were made after the backup; it stays, NOT VALID"
            ));
        }
    }
    session.close().await;
    Ok(errors)
}
