//! Every code that an error may carry, and the body of an error.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::fault_codes::FAULTS;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal, $title:literal, $todo:literal;)*) => {
        /// What went wrong, as a stable word for programs. `docs/errors.md` lists them all.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $($(#[$doc])* #[doc = $title] $name,)*
        }

        impl Code {
            /// All of them, in the order of their status.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The word on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }

            /// The HTTP status that goes with it.
            pub fn status(self) -> u16 {
                match self { $(Code::$name => $status,)* }
            }

            /// A short sentence, the same for every occurrence.
            pub fn title(self) -> &'static str {
                match self { $(Code::$name => $title,)* }
            }

            /// What to do about it.
            pub fn remedy(self) -> &'static str {
                match self { $(Code::$name => $todo,)* }
            }
        }
    };
}

codes! {
    BadJson = "bad-json", 400, "The body is no JSON.",
        "Mend the body at the line and column that `detail` names.";
    UnknownField = "unknown-field", 400, "The body has a field that is not known.",
        "Leave the field out, or spell it as `detail` proposes. Nothing unknown is ignored, so that no setting is lost by a slip.";
    MissingField = "missing-field", 400, "The body lacks a field.",
        "Add the field that `detail` names.";
    InvalidField = "invalid-field", 400, "A field of the body has a value that cannot be.",
        "Change the field as `detail` says.";
    UnknownParameter = "unknown-parameter", 400, "The query has a parameter that is not known.",
        "Leave it out, or spell it as `detail` proposes.";
    InvalidParameter = "invalid-parameter", 400, "A parameter of the query has a value that cannot be.",
        "Change it as `detail` says.";
    InvalidHeader = "invalid-header", 400, "A header is missing or has a value that cannot be.",
        "Send the header as `detail` says.";
    SettingNotBuiltYet = "not-built-yet", 400, "A setting whose effect is not there yet.",
        "Use the neutral value that `detail` names. It is refused, not ignored, so that nobody relies on it.";
    BadRequest = "bad-request", 400, "The request asks for something that cannot be.",
        "Change the request as `detail` says.";
    CredentialsMissing = "credentials-missing", 400, "A restore needs the database credentials that it runs with.",
        "Send `x-auth-credentials: Basic base64(user:password)`; they are never stored.";
    Unauthenticated = "unauthenticated", 401, "A token is needed.",
        "Send `Authorization: Bearer TOKEN`, or Basic with the token as the password (`curl -u :TOKEN`).";
    Forbidden = "forbidden", 403, "This is not permitted.",
        "Ask an administrator; pages of other sites cannot change anything at all.";
    DatabaseCredentials = "database-credentials", 403, "The database refused the credentials.",
        "Send the user and password of a database user in `x-auth-credentials: Basic base64(user:password)`.";
    AccessDenied = "access-denied", 403, "The database user lacks a right.",
        "Grant the right that `detail` names, or run `POST /sites/{id}/check`, which gives the SQL.";
    NoSuchPath = "no-such-path", 404, "There is nothing at this path.",
        "`/openapi.json` and `/docs` list every path.";
    NotFound = "not-found", 404, "What the request names is not there.",
        "Look at the list that it should be in.";
    NoSite = "no-site", 404, "There is no such site.",
        "`GET /sites` lists them.";
    NoJob = "no-job", 404, "The site has no such job.",
        "`GET /sites/{id}/jobs` lists them.";
    NoExecution = "no-execution", 404, "There is no such execution.",
        "`GET /sites/{id}/executions` lists them.";
    NoSaveset = "no-saveset", 404, "There is no such saveset.",
        "`GET /sites/{id}/savesets` lists them.";
    NoPreparation = "no-preparation", 404, "There is no such preparation of objects.",
        "Start one: `POST /sites/{id}/jobs/{job_id}/executions/{execution_id}/prepare-objects`. They are forgotten when the server is restarted.";
    MethodNotAllowed = "method-not-allowed", 405, "The path does not have this method.",
        "The header `Allow` lists those it has.";
    Conflict = "conflict", 409, "Something is in the way.",
        "Do what `detail` and `hint` say, then try again.";
    SiteExists = "site-exists", 409, "A site of that id is there already.",
        "Choose another site_id, or PUT the one that is there.";
    SiteHasJobs = "site-has-jobs", 409, "The site still has jobs.",
        "Delete its jobs first. Its vault is never touched.";
    JobRunning = "job-running", 409, "The job has an execution that has not ended.",
        "Wait for the execution that `execution_id` names, or abort it.";
    ExecutionEnded = "execution-ended", 409, "The execution has ended already.",
        "Nothing to do: `GET` the execution to see how it ended.";
    NothingToRestore = "nothing-to-restore", 409, "The execution has no saveset that could be restored.",
        "Choose an execution that is SUCCESSFUL or COMPLETED_WITH_WARNINGS and whose saveset is not deleted.";
    VaultTaken = "vault-taken", 409, "The vault belongs to another server or site.",
        "Give the site a vault of its own.";
    TargetNotEmpty = "target-not-empty", 409, "The target database is there and not empty.",
        "Choose another name, or send `replace_existing: true` in job_settings: what is there is then put aside.";
    TargetExists = "target-exists", 409, "Something of that name is there already.",
        "Choose another name.";
    StaleVersion = "stale-version", 412, "The object has changed since it was read.",
        "GET it again and repeat the change with its new ETag.";
    BodyTooLarge = "body-too-large", 413, "The body is too large.",
        "Bodies have at most as many bytes as `detail` says.";
    UnsupportedMediaType = "unsupported-media-type", 415, "The body is not declared as JSON.",
        "Send `Content-Type: application/json`.";
    IdempotencyKeyReused = "idempotency-key-reused", 409, "The Idempotency-Key was used for something else.",
        "Use a new key for a new request.";
    TooManyRequests = "too-many-requests", 429, "Too many requests at once.",
        "Wait as many seconds as `Retry-After` says.";
    Internal = "internal", 500, "A mistake of ours.",
        "Report it with the request_id; the server's log has the cause.";
    Damaged = "damaged", 500, "Bytes of the vault or the catalog are not what was written.",
        "Look at the storage. `detail` names the object; no damaged byte is ever restored.";
    OperationNotBuiltYet = "not-built-yet", 501, "An operation that is not there yet.",
        "A later version of Backstay has it.";
    SourceUnavailable = "source-unavailable", 502, "The database cannot be reached or failed.",
        "`POST /sites/{id}/check` says what is missing.";
    VaultUnavailable = "vault-unavailable", 502, "The vault's store cannot be reached or failed.",
        "`POST /sites/{id}/check` says what is missing.";
    Busy = "busy", 503, "Somebody else holds what is needed.",
        "Wait as many seconds as `Retry-After` says, then try again.";
    ShuttingDown = "shutting-down", 503, "The server is about to stop.",
        "Try again when it is back.";
    TimedOut = "timed-out", 504, "The answer took too long.",
        "A change that had begun goes on to its end: look whether it is done, then try again. With an Idempotency-Key that is safe at once.";
}

impl Code {
    /// The code of that word, if there is one. `not-built-yet` is that of a setting (400).
    pub fn of(word: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.as_str() == word)
    }

    /// The text of `docs/errors.md`.
    pub fn page() -> String {
        let mut page = String::from(PAGE_HEAD);
        for code in Code::ALL {
            page.push_str(&format!(
                "| `{}` | {} | {} | {} |\n",
                code.as_str(),
                code.status(),
                code.title(),
                code.remedy().replace('|', "\\|")
            ));
        }
        page.push_str(FAULTS_HEAD);
        for (word, meaning) in FAULTS {
            page.push_str(&format!("| `{word}` | {meaning} |\n"));
        }
        page
    }
}

const PAGE_HEAD: &str = "# Errors

Every error is `application/problem+json` (RFC 9457). `code` is stable: programs may decide by it.
`detail` is a sentence for a person and says what was wrong and where; `hint`, where there is one,
says what to do; `request_id` is also in the header `x-request-id` and in the server's log.
`field` names the field, parameter or header that is to blame.

This page is written from the code by a test (`BACKSTAY_WRITE_DOCS=1` writes it anew).

## Codes of the API

| code | status | what it means | what to do |
|---|---|---|---|
";

const FAULTS_HEAD: &str = "
## Codes from further below

They come from the catalog, the vault, the data path and the engines; in an answer, in the plan of a
dry run or in a log. The status goes by who has to act: the caller 400, whoever grants rights 403,
something missing 404, something in the way 409, the database or the store 502, somebody else who
holds what is needed 503, damage or a mistake of ours 500. `detail` and `hint` say the rest.

| code | what it means |
|---|---|
";

/// The body of every error: `application/problem+json` (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProblemDocument {
    /// `urn:backstay:problem:` and the code.
    #[serde(rename = "type")]
    #[schema(example = "urn:backstay:problem:job-running")]
    pub problem_type: String,
    /// A short sentence, the same for every occurrence of the code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// A stable word for programs; `docs/errors.md` lists them all.
    #[schema(example = "job-running")]
    pub code: String,
    /// What was wrong this time, and where.
    pub detail: String,
    /// The path of the request.
    pub instance: String,
    /// As in the header `x-request-id` and in the server's log.
    pub request_id: String,
    /// The field, parameter or header that is to blame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The execution that is in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<String>,
}
