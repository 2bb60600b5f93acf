//! Every operation: method, path, who may call it, what it takes and what it may answer.
//!
//! Router, access table and metric labels match on [`Operation`] exhaustively, so an operation
//! without a rule does not compile; a test holds the OpenAPI document against it.

use model::{ExecutionStatus, JobType, ObjectType, RunType};
use strum::{Display, EnumIter, EnumString};

use crate::words::all;

/// What stands before the path of every operation of the contract.
pub const BASE_PATH: &str = "/data-protection/v2";

/// An HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display)]
#[strum(serialize_all = "UPPERCASE")]
#[allow(missing_docs, reason = "each word is HTTP's own")]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Anybody, without a token.
    Open,
    /// Whoever has a token.
    Token,
    /// Administrators.
    Administrator,
}

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ParameterKind {
    /// In the query.
    Query,
    /// A header.
    Header,
}

/// A parameter of an operation, beside those in its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Parameter {
    /// Where it stands.
    pub kind: ParameterKind,
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub text: &'static str,
    /// What its value may be.
    pub schema: ParameterSchema,
}

/// What the value of a parameter may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ParameterSchema {
    /// Any text.
    Text,
    /// true, false, or no value at all.
    Flag,
    /// A whole number of 1 or more.
    Count,
    /// Rows of a page.
    PageSize,
    /// RFC 3339.
    Moment,
    /// BACKUP or RESTORE; any letter case is read.
    JobType,
    /// FULL or DELTA; any letter case is read.
    RunType,
    /// A status of an execution; any letter case is read.
    Status,
    /// DATABASE; any letter case is read.
    Database,
}

impl ParameterSchema {
    /// The words of a closed set, in capitals.
    pub fn words(self) -> Option<Vec<String>> {
        match self {
            ParameterSchema::JobType => Some(all::<JobType>()),
            ParameterSchema::RunType => Some(all::<RunType>()),
            ParameterSchema::Status => Some(all::<ExecutionStatus>()),
            ParameterSchema::Database => Some(vec![ObjectType::Database.to_string()]),
            _ => None,
        }
    }
}

const fn query(name: &'static str, schema: ParameterSchema, text: &'static str) -> Parameter {
    Parameter {
        kind: ParameterKind::Query,
        name,
        text,
        schema,
    }
}

const fn header(name: &'static str, text: &'static str) -> Parameter {
    Parameter {
        kind: ParameterKind::Header,
        name,
        text,
        schema: ParameterSchema::Text,
    }
}

const PAGE: Parameter = query("page", ParameterSchema::Count, "The page, from 1.");
const PAGE_SIZE: Parameter = query(
    "page-size",
    ParameterSchema::PageSize,
    "Rows of a page, 1 to 1000; 10 by default.",
);
const SEARCH: Parameter = query(
    "search",
    ParameterSchema::Text,
    "Only names that hold this text, in any letter case.",
);
const IF_MATCH: Parameter = header(
    "if-match",
    "The ETag of what is to be changed; another one is 412.",
);
const CREDENTIALS: Parameter = header(
    "x-auth-credentials",
    "`Basic base64(user:password)`: the database user that the restore runs with. Never stored.",
);
const IDEMPOTENCY: Parameter = header(
    "idempotency-key",
    "The same key within 24 hours gives the same answer, and nothing runs twice.",
);

pub(crate) const JOBS: &[Parameter] = &[
    query(
        "is-active",
        ParameterSchema::Flag,
        "true or without a value: active jobs; false: the others; absent: all.",
    ),
    PAGE,
    PAGE_SIZE,
    query(
        "job-type",
        ParameterSchema::JobType,
        "Backup or Restore, in any letter case; absent: both.",
    ),
];
pub(crate) const EXECUTIONS: &[Parameter] = &[
    PAGE,
    PAGE_SIZE,
    query(
        "status",
        ParameterSchema::Status,
        "Only executions of this status, in any letter case.",
    ),
    query(
        "job-type",
        ParameterSchema::JobType,
        "Backup or Restore, in any letter case; absent: both.",
    ),
    query(
        "since",
        ParameterSchema::Moment,
        "Only executions that started then or later (RFC 3339).",
    ),
    query(
        "until",
        ParameterSchema::Moment,
        "Only executions that started before then (RFC 3339).",
    ),
];
pub(crate) const EXECUTE_QUERY: &[Parameter] = &[query(
    "run_type",
    ParameterSchema::RunType,
    "Full or Delta, in any letter case; also in the body.",
)];
const EXECUTE: &[Parameter] = &[EXECUTE_QUERY[0], CREDENTIALS, IDEMPOTENCY];
pub(crate) const OBJECTS: &[Parameter] = &[PAGE, PAGE_SIZE, SEARCH];
pub(crate) const PREPARATION: &[Parameter] = &[query(
    "id",
    ParameterSchema::Count,
    "The preparation's id; the newest of the site by default.",
)];
pub(crate) const PAGES: &[Parameter] = &[PAGE, PAGE_SIZE];
pub(crate) const BROWSE: &[Parameter] = &[
    query(
        "parent_name",
        ParameterSchema::Text,
        "What to look into; DBC, the root of the site, by default.",
    ),
    query(
        "parent_type",
        ParameterSchema::Database,
        "Its type; DATABASE by default.",
    ),
    SEARCH,
];
const CHANGE: &[Parameter] = &[IF_MATCH];
const PERMISSIONS: &[Parameter] = &[CREDENTIALS];
const RESTORE: &[Parameter] = &[CREDENTIALS, IDEMPOTENCY];

/// What is fixed about an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The method.
    pub method: Method,
    /// The path; below [`BASE_PATH`] unless it is one of the service's own.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// Whether it works; one that does not answers 501 `not-built-yet`.
    pub built: bool,
    /// What it takes beside its path and its body.
    pub parameters: &'static [Parameter],
    /// Statuses of its own errors, beside those that every operation may answer.
    pub errors: &'static [u16],
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident $method:ident $path:literal $access:ident $built:ident $parameters:ident [$($error:literal),*];)*) => {
        /// Every operation of the service.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Display, EnumIter, EnumString)]
        #[strum(serialize_all = "snake_case")]
        pub enum Operation { $($(#[$doc])* $name,)* }

        impl Operation {
            /// What is fixed about it.
            pub fn facts(self) -> Facts {
                match self {
                    $(Operation::$name => Facts {
                        method: Method::$method,
                        path: $path,
                        access: Access::$access,
                        built: $built!(),
                        parameters: $parameters,
                        errors: &[$($error),*],
                    },)*
                }
            }
        }
    };
}

macro_rules! built {
    () => {
        true
    };
}
macro_rules! later {
    () => {
        false
    };
}
const NONE: &[Parameter] = &[];

operations! {
    /// Row 1 of the reference.
    ListJobs Get "/sites/{site_id}/jobs" Token built JOBS [400, 404];
    /// Row 2.
    GetJob Get "/sites/{site_id}/jobs/{job_id}" Token built NONE [404];
    /// Row 3.
    ExecuteJob Post "/sites/{site_id}/jobs/{job_id}/execute" Token built EXECUTE [400, 403, 404, 409, 413, 415, 502];
    /// Row 4.
    ListSiteExecutions Get "/sites/{site_id}/executions" Token built EXECUTIONS [400, 404];
    /// Row 5.
    ListJobExecutions Get "/sites/{site_id}/jobs/{job_id}/executions" Token built EXECUTIONS [400, 404];
    /// Row 6.
    PrepareObjects Post "/sites/{site_id}/jobs/{job_id}/executions/{execution_id}/prepare-objects" Token built NONE [404, 409, 413, 415];
    /// Row 7.
    PreparationStatus Get "/sites/{site_id}/objects-preparation-status" Token built PREPARATION [400, 404];
    /// Row 8.
    ListSavesetObjects Get "/sites/{site_id}/jobs/{job_id}/executions/{execution_id}/objects" Token built OBJECTS [400, 403, 404, 409, 502];
    /// Row 9.
    GetRestore Get "/sites/{site_id}/jobs/{job_id}/executions/{execution_id}/restores/{restore_id}" Token built NONE [404];
    /// Row 10.
    ListSiteRestores Get "/sites/{site_id}/restores" Token built EXECUTIONS [400, 404];
    /// Row 11.
    RestorePermissions Post "/sites/{site_id}/restore-permissions" Token built PERMISSIONS [400, 403, 404, 413, 415, 502];
    /// Row 12.
    ListDatabases Get "/sites/{site_id}/databases" Token built NONE [400, 403, 404, 502];
    /// Row 13.
    ListExecutionRestores Get "/sites/{site_id}/jobs/{job_id}/executions/{execution_id}/restores" Token built EXECUTIONS [400, 404];
    /// Row 14.
    StartRestore Post "/sites/{site_id}/jobs/{job_id}/executions/{execution_id}/restores" Token built RESTORE [400, 403, 404, 409, 413, 415, 502];
    /// Every site.
    ListSites Get "/sites" Token built PAGES [400];
    /// A new site.
    CreateSite Post "/sites" Administrator built NONE [400, 403, 409, 413, 415, 502];
    /// A site comes back from its vault and its recovery key.
    AdoptSite Post "/site-adoptions" Administrator built NONE [400, 403, 404, 409, 413, 415, 502];
    /// One site.
    GetSite Get "/sites/{site_id}" Token built NONE [404];
    /// Changes a site.
    ReplaceSite Put "/sites/{site_id}" Administrator built CHANGE [400, 403, 404, 409, 412, 413, 415, 502];
    /// Forgets a site; its vault is not touched.
    DeleteSite Delete "/sites/{site_id}" Administrator built CHANGE [403, 404, 409, 412, 413, 415];
    /// The connection, the rights, the vault.
    CheckSite Post "/sites/{site_id}/check" Token built NONE [403, 404, 413, 415, 502];
    /// The key that opens the vault without this server.
    SiteRecoveryKey Post "/sites/{site_id}/recovery-key" Administrator built NONE [403, 404, 413, 415];
    /// A new backup job.
    CreateJob Post "/sites/{site_id}/jobs" Token built NONE [400, 404, 413, 415];
    /// Changes a job.
    ReplaceJob Put "/sites/{site_id}/jobs/{job_id}" Token built CHANGE [400, 404, 412, 413, 415];
    /// Changes some fields of a job.
    PatchJob Patch "/sites/{site_id}/jobs/{job_id}" Token built CHANGE [400, 404, 412, 413, 415];
    /// Deletes a job; its savesets stay.
    DeleteJob Delete "/sites/{site_id}/jobs/{job_id}" Token built CHANGE [404, 409, 412, 413, 415];
    /// When a job runs by itself.
    ListSchedules Get "/sites/{site_id}/jobs/{job_id}/schedules" Token later NONE [];
    /// A new schedule.
    CreateSchedule Post "/sites/{site_id}/jobs/{job_id}/schedules" Token later NONE [];
    /// What a schedule would do.
    PreviewSchedule Post "/sites/{site_id}/jobs/{job_id}/schedules/preview" Token later NONE [];
    /// One schedule.
    GetSchedule Get "/sites/{site_id}/jobs/{job_id}/schedules/{schedule_id}" Token later NONE [];
    /// Changes a schedule.
    ReplaceSchedule Put "/sites/{site_id}/jobs/{job_id}/schedules/{schedule_id}" Token later NONE [];
    /// Changes some fields of a schedule.
    PatchSchedule Patch "/sites/{site_id}/jobs/{job_id}/schedules/{schedule_id}" Token later NONE [];
    /// Deletes a schedule.
    DeleteSchedule Delete "/sites/{site_id}/jobs/{job_id}/schedules/{schedule_id}" Token later NONE [];
    /// When a job runs next.
    NextRuns Get "/sites/{site_id}/jobs/{job_id}/next-runs" Token later NONE [];
    /// One execution, with its phases.
    GetExecution Get "/sites/{site_id}/executions/{execution_id}" Token built NONE [404];
    /// Stops an execution.
    AbortExecution Post "/sites/{site_id}/executions/{execution_id}/abort" Token built NONE [404, 409, 413, 415];
    /// One execution as it goes on.
    ExecutionEvents Get "/sites/{site_id}/executions/{execution_id}/events" Token built NONE [404];
    /// The retained copies of a site.
    ListSiteSavesets Get "/sites/{site_id}/savesets" Token built PAGES [400, 404];
    /// The retained copies of a job.
    ListJobSavesets Get "/sites/{site_id}/jobs/{job_id}/savesets" Token built PAGES [400, 404];
    /// One retained copy.
    GetSaveset Get "/sites/{site_id}/savesets/{saveset_id}" Token built NONE [404];
    /// Protects a retained copy, or no longer.
    PatchSaveset Patch "/sites/{site_id}/savesets/{saveset_id}" Token built CHANGE [400, 404, 412, 413, 415];
    /// Deletes a retained copy.
    DeleteSaveset Delete "/sites/{site_id}/savesets/{saveset_id}" Token built CHANGE [404, 409, 412, 413, 415];
    /// Reads every byte of a retained copy.
    VerifySaveset Post "/sites/{site_id}/savesets/{saveset_id}/verify" Token built NONE [400, 403, 404, 409, 413, 415, 502];
    /// What a restore put aside.
    ListKeptObjects Get "/sites/{site_id}/kept-objects" Token later NONE [];
    /// Puts it back.
    UndoKeptObject Post "/sites/{site_id}/kept-objects/{kept_id}/undo" Token later NONE [];
    /// Lets it go.
    DeleteKeptObject Delete "/sites/{site_id}/kept-objects/{kept_id}" Token later NONE [];
    /// The objects of a live database.
    BrowseObjects Get "/sites/{site_id}/objects" Token built BROWSE [400, 403, 404, 502];
    /// Whether the process lives.
    Healthz Get "/healthz" Open built NONE [];
    /// Whether it can do its work.
    Readyz Get "/readyz" Open built NONE [];
    /// For Prometheus.
    Metrics Get "/metrics" Token built NONE [];
    /// This document.
    OpenapiJson Get "/openapi.json" Open built NONE [];
    /// The reference page.
    Docs Get "/docs" Open built NONE [];
}

impl Operation {
    /// Whether it is one of the service's own, outside of [`BASE_PATH`].
    pub fn is_service(self) -> bool {
        !self.facts().path.starts_with("/site")
    }

    /// The whole path, as the router and the document have it.
    pub fn full_path(self) -> String {
        let path = self.facts().path;
        if self.is_service() {
            path.to_owned()
        } else {
            format!("{BASE_PATH}{path}")
        }
    }

    /// The statuses of errors that it may answer.
    pub fn error_statuses(self) -> Vec<u16> {
        let facts = self.facts();
        let mut statuses = facts.errors.to_vec();
        if facts.access != Access::Open {
            statuses.extend([400, 401, 404, 429, 500, 503, 504]);
        } else {
            statuses.extend([400, 500, 503]);
        }
        // Not permitted, or sent by a page of another site.
        if facts.access == Access::Administrator || facts.method != Method::Get {
            statuses.push(403);
        }
        if !facts.built {
            statuses.push(501);
        }
        statuses.sort_unstable();
        statuses.dedup();
        statuses
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use strum::IntoEnumIterator;

    #[test]
    fn no_two_operations_share_method_and_path() {
        let all: BTreeSet<_> = Operation::iter()
            .map(|o| (o.facts().method.to_string(), o.full_path()))
            .collect();
        assert_eq!(all.len(), Operation::iter().count());
    }

    #[test]
    fn only_the_service_itself_is_open_and_its_numbers_are_not() {
        for operation in Operation::iter() {
            let open = operation.facts().access == Access::Open;
            let wanted = operation.is_service() && operation != Operation::Metrics;
            assert_eq!(open, wanted, "{operation}");
        }
    }
}
