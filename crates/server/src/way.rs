//! The ids in a request's path. What is no id is not there: 404.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use catalog::CatalogError;
use contract::{Code, Pairs};
use model::{ExecutionId, JobId, SavesetId, SiteId};

use crate::Problem;

/// The names and values of a path, decoded.
pub(crate) struct Way(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Way {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match RawPathParams::from_request_parts(parts, state).await {
            Ok(params) => Ok(Way(params
                .iter()
                .map(|(n, v)| (n.to_owned(), v.to_owned()))
                .collect())),
            // Bytes that are no UTF-8.
            Err(_) => Err(Problem::new(
                Code::NoSuchPath,
                "There is nothing at this path.",
            )),
        }
    }
}

impl Way {
    fn text(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(n, _)| n == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    pub fn site(&self) -> Result<SiteId, Problem> {
        let text = self.text("site_id");
        let missing = || Problem::new(Code::NoSite, format!("there is no site {text:?}"));
        text.parse().map_err(|_| missing())
    }

    pub fn job(&self) -> Result<JobId, Problem> {
        let (site, text) = (self.text("site_id"), self.text("job_id"));
        let missing = || Problem::new(Code::NoJob, format!("site {site} has no job {text:?}"));
        text.parse().map_err(|_| missing())
    }

    pub fn execution(&self) -> Result<ExecutionId, Problem> {
        self.execution_named("execution_id")
    }

    pub fn restore(&self) -> Result<ExecutionId, Problem> {
        self.execution_named("restore_id")
    }

    fn execution_named(&self, name: &str) -> Result<ExecutionId, Problem> {
        let (site, text) = (self.text("site_id"), self.text(name));
        let missing = || {
            Problem::new(
                Code::NoExecution,
                format!("site {site} has no execution {text:?}"),
            )
        };
        text.parse().map_err(|_| missing())
    }

    pub fn saveset(&self) -> Result<SavesetId, Problem> {
        let (site, text) = (self.text("site_id"), self.text("saveset_id"));
        let missing = || {
            Problem::new(
                Code::NoSaveset,
                format!("site {site} has no saveset {text:?}"),
            )
        };
        text.parse().map_err(|_| missing())
    }
}

/// That the path's site has no such execution.
pub(crate) fn no_execution(site: &SiteId, execution: ExecutionId) -> Problem {
    CatalogError::NoExecution {
        site: site.clone(),
        execution,
    }
    .into()
}

/// The query of a request, decoded.
pub(crate) struct Query(pub Pairs);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        axum::extract::Query::<Pairs>::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(pairs)| Query(pairs))
            .map_err(|_| Problem::new(Code::InvalidParameter, "The query cannot be read."))
    }
}
