//! What a backup builds on: the newest saveset of its job, if nothing speaks against it.

use catalog::{ChangedIn, JobRecord, SiteRecord};
use model::{
    Blame, ChangedBlocksSource, DatabaseSelection, ExecutionId, Fault, ObjectName, RunType,
    SavesetId, SiteConnection,
};
use vault::{Saveset, Vault, VaultError};

use crate::rules::run_type::{Asked, Base, Decision, Flaw, MadeWith, decide, same_objects};
use crate::{Inner, JobsError, words};

/// A run that is about to begin.
pub(crate) struct Candidate<'a> {
    pub(crate) site: &'a SiteRecord,
    pub(crate) job: &'a JobRecord,
    pub(crate) vault: &'a Vault,
    /// What was asked for.
    pub(crate) run_type: RunType,
    /// What it will read.
    pub(crate) databases: &'a [DatabaseSelection],
    /// What an attempt before this one has found out about its base.
    pub(crate) found_out: Option<&'a (SavesetId, Flaw)>,
}

/// What it becomes.
pub(crate) struct Course {
    pub(crate) decision: Decision,
    /// The saveset that `decision` names.
    pub(crate) base: Option<Saveset>,
    pub(crate) made_with: MadeWith,
}

impl Inner {
    /// Looks at the base, and last of all at the database system.
    ///
    /// # Errors
    /// When the vault does not answer, or the database system cannot be asked: nothing is known then.
    pub(crate) async fn course(&self, run: &Candidate<'_>) -> Result<Course, JobsError> {
        let made_with = run.made_with();
        let mut asked = Asked {
            run_type: run.run_type,
            base: None,
        };
        let mut base = None;
        if run.run_type == RunType::Delta
            && let Some((saveset, execution)) = self.newest_of(run.job).await?
        {
            let (flaw, opened) = match self.look_at(run, &made_with, saveset, execution).await? {
                Ok(opened) => (None, Some(opened)),
                Err(flaw) => (Some(flaw), None),
            };
            base = opened;
            asked.base = Some(Base {
                saveset,
                execution,
                flaw,
            });
        }
        Ok(Course {
            decision: decide(&asked),
            base,
            made_with,
        })
    }

    async fn newest_of(
        &self,
        job: &JobRecord,
    ) -> Result<Option<(SavesetId, ExecutionId)>, JobsError> {
        let savesets = self.catalog.savesets_of_job(&job.site_id, job.job_id);
        let mut savesets = savesets.await?.into_iter();
        let newest = savesets.find(|record| !record.is_condemned);
        Ok(newest.map(|record| (record.saveset_id, record.execution_id)))
    }

    /// The saveset, opened, if it can be built on.
    async fn look_at(
        &self,
        run: &Candidate<'_>,
        made_with: &MadeWith,
        saveset: SavesetId,
        execution: ExecutionId,
    ) -> Result<Result<Saveset, Flaw>, JobsError> {
        if let Some((found, flaw)) = run.found_out
            && *found == saveset
        {
            return Ok(Err(flaw.clone()));
        }
        if self
            .catalog
            .saveset(&run.job.site_id, saveset)
            .await?
            .is_damaged
        {
            return Ok(Err(Flaw::FailedItsCheck { what: None }));
        }
        let noted = self.catalog.made_with(execution).await?;
        // What cannot be read was written by a later version: the manifest tells enough.
        let noted = noted.and_then(|text| serde_json::from_str::<MadeWith>(&text).ok());
        if let Some(flaw) = noted.and_then(|before| made_with.flaw(&before)) {
            return Ok(Err(flaw));
        }
        let base = match run.vault.open_saveset(saveset).await {
            Ok(base) => base,
            Err(error @ VaultError::NewerFormat { .. }) => {
                let what = Some((&error as &dyn Fault).sentence());
                return Ok(Err(Flaw::FailedItsCheck { what }));
            }
            Err(error) => {
                let flaw = self.flaw_of(run, saveset, &error).await?;
                return flaw.map(Err).ok_or(error.into());
            }
        };
        let before = base.databases().iter().map(|saved| saved.selection.clone());
        let before: Vec<_> = before.collect();
        let listed_live = run.job.definition.selection.needs_the_list();
        if !same_objects(run.databases, &before, listed_live) {
            return Ok(Err(Flaw::OtherObjects));
        }
        if let Some(first) = base.databases().first() {
            let engine = self.registry.engine(run.site.definition.site_type)?;
            let connection = self.connection(run.site).await?;
            if let Some(why) = engine.made_anew(&connection, &first.facts).await? {
                return Ok(Err(Flaw::MadeAnew { why }));
            }
        }
        Ok(Ok(base))
    }

    /// What an error says of the saveset that was to be built on; `None`: nothing, the vault has not
    /// answered. A saveset that is damaged is known as such from now on.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub(crate) async fn flaw_of(
        &self,
        run: &Candidate<'_>,
        saveset: SavesetId,
        error: &dyn Fault,
    ) -> Result<Option<Flaw>, JobsError> {
        let what = || Some(error.sentence());
        Ok(match error.code() {
            "no-saveset" | "saveset-gone" => Some(Flaw::Gone),
            _ if error.blame() == Blame::Damaged => {
                let what = what();
                self.catalog.mark_damaged(&run.job.site_id, saveset).await?;
                Some(Flaw::FailedItsCheck { what })
            }
            _ => None,
        })
    }
}

impl Candidate<'_> {
    fn made_with(&self) -> MadeWith {
        MadeWith {
            vault: self.vault.id().to_string(),
            place: match &self.site.definition.connection {
                SiteConnection::Postgresql { .. } => None,
                SiteConnection::Sqlite { path } => Some(path.clone()),
            },
            selection: self.job.definition.selection.clone(),
        }
    }
}

/// How changed blocks were found in each database of a saveset, as its manifest says.
pub(crate) fn changed_in(saveset: &Saveset) -> Vec<ChangedIn> {
    let changed = saveset.manifest().contents.changed_blocks();
    let changed = changed.map(|(database, found)| ChangedIn {
        database: database.clone(),
        found: found.clone(),
    });
    changed.collect()
}

/// `changed blocks from WAL summaries`; several ways are told by their databases. `None`: nothing was
/// compared.
pub(crate) fn how_found(changed: &[ChangedIn]) -> Option<String> {
    let mut ways: Vec<(String, Vec<ObjectName>)> = Vec::new();
    for one in changed {
        let way = match (one.found.source, &one.found.why) {
            (ChangedBlocksSource::WalSummary, None) => "from WAL summaries".to_owned(),
            (ChangedBlocksSource::Hash, None) => "by hash".to_owned(),
            (ChangedBlocksSource::WalSummary, Some(why)) => {
                format!("from WAL summaries, though {why}")
            }
            (ChangedBlocksSource::Hash, Some(why)) => format!("by hash, because {why}"),
        };
        match ways.iter_mut().find(|(known, _)| *known == way) {
            Some((_, databases)) => databases.push(one.database.clone()),
            None => ways.push((way, vec![one.database.clone()])),
        }
    }
    let told = match ways.as_slice() {
        [] => return None,
        [(way, _)] => way.clone(),
        several => {
            let told = several
                .iter()
                .map(|(way, databases)| format!("in {} {way}", words::list(databases)));
            told.collect::<Vec<_>>().join("; ")
        }
    };
    Some(format!("changed blocks found {told}"))
}

#[cfg(test)]
mod tests {
    use model::ChangedBlocks;

    use super::*;

    #[test]
    fn the_ways_in_which_changed_blocks_were_found_are_told_once_each() {
        let one = |database: &str, source, why: Option<&str>| ChangedIn {
            database: ObjectName::one(database),
            found: ChangedBlocks {
                source,
                why: why.map(str::to_owned),
            },
        };
        let (wal, hash) = (ChangedBlocksSource::WalSummary, ChangedBlocksSource::Hash);
        assert_eq!(how_found(&[]), None);
        assert_eq!(
            how_found(&[one("shop", wal, None), one("crm", wal, None)]).unwrap(),
            "changed blocks found from WAL summaries"
        );
        assert_eq!(
            how_found(&[one("shop", hash, Some("summarize_wal is off"))]).unwrap(),
            "changed blocks found by hash, because summarize_wal is off"
        );
        let several = [
            one("a", wal, None),
            one("b", hash, Some("it was copied")),
            one("c", wal, None),
        ];
        assert_eq!(
            how_found(&several).unwrap(),
            "changed blocks found in a and c from WAL summaries; in b by hash, because it was copied"
        );
    }
}
