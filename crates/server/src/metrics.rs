//! Numbers for Prometheus.

use std::time::Duration;

use catalog::CatalogError;
use contract::Operation;
use model::{ExecutionStatus, JobId, JobType, SiteId};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use strum::IntoEnumIterator;

use crate::{Problem, ServerState};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    operation: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabels {
    status: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabels {
    site_id: String,
    job_id: i64,
    job_name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SiteLabels {
    site_id: String,
}

type Durations = Family<OperationLabels, Histogram, fn() -> Histogram>;

/// Counted while requests are answered; the rest is read from the catalog when asked for.
pub(crate) struct Metrics {
    requests: Family<RequestLabels, Counter>,
    durations: Durations,
}

fn seconds() -> Histogram {
    Histogram::new([0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0])
}

impl Metrics {
    pub fn new() -> Self {
        Metrics {
            requests: Family::default(),
            durations: Family::new_with_constructor(seconds),
        }
    }

    /// Counts an answered request. Paths that mean nothing share one label, so that nobody can
    /// make as many series as he likes.
    pub fn request(&self, operation: Option<Operation>, status: u16, took: Duration) {
        let operation = operation.map_or_else(|| "none".to_owned(), |o| o.to_string());
        let labels = RequestLabels {
            operation: operation.clone(),
            status,
        };
        self.requests.get_or_create(&labels).inc();
        self.durations
            .get_or_create(&OperationLabels { operation })
            .observe(took.as_secs_f64());
    }

    fn register(&self, registry: &mut Registry) {
        registry.register("requests", "Requests answered", self.requests.clone());
        registry.register_with_unit(
            "request_duration",
            "Time until an answer began",
            Unit::Seconds,
            self.durations.clone(),
        );
    }
}

/// Everything as text, in the OpenMetrics format.
pub(crate) async fn text(state: &ServerState) -> Result<String, Problem> {
    let mut registry = Registry::with_prefix("backstay");
    state.metrics().register(&mut registry);
    add_executions(state, &mut registry).await?;
    add_jobs(state, &mut registry).await?;
    add_damaged(state, &mut registry).await?;
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|fault| Problem::internal(format!("metrics: {fault}")))?;
    Ok(text)
}

async fn add_executions(state: &ServerState, registry: &mut Registry) -> Result<(), CatalogError> {
    let gauge = Family::<StatusLabels, Gauge>::default();
    let counts = state.catalog().execution_counts().await?;
    for status in ExecutionStatus::iter() {
        let count = counts.iter().find(|(of, _)| *of == status);
        let labels = StatusLabels {
            status: status.to_string(),
        };
        let count = count.map_or(0, |(_, count)| *count);
        gauge
            .get_or_create(&labels)
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    registry.register("executions", "Executions in the catalog by status", gauge);
    Ok(())
}

/// The age of each backup job's last good saveset. A job that has none has no such series: its
/// absence, not a made-up number, is what an alert should look for.
async fn add_jobs(state: &ServerState, registry: &mut Registry) -> Result<(), CatalogError> {
    let age = Family::<JobLabels, Gauge>::default();
    let copies = Family::<JobLabels, Gauge>::default();
    let now = state.clock().now();
    for job in state.catalog().all_jobs().await? {
        if job.definition.job_type != JobType::Backup {
            continue;
        }
        let (newest, count) = newest_saveset(state, &job.site_id, job.job_id).await?;
        let labels = JobLabels {
            site_id: job.site_id.to_string(),
            job_id: job.job_id.get(),
            job_name: job.definition.name,
        };
        copies
            .get_or_create(&labels)
            .set(i64::try_from(count).unwrap_or(i64::MAX));
        if let Some(end) = newest {
            let seconds = now.since(end).as_secs();
            age.get_or_create(&labels)
                .set(i64::try_from(seconds).unwrap_or(i64::MAX));
        }
    }
    registry.register_with_unit(
        "last_good_saveset_age",
        "Age of the job's newest saveset",
        Unit::Seconds,
        age,
    );
    registry.register("savesets", "Savesets that the job has", copies);
    Ok(())
}

/// An alert should look for anything above 0.
async fn add_damaged(state: &ServerState, registry: &mut Registry) -> Result<(), CatalogError> {
    let gauge = Family::<SiteLabels, Gauge>::default();
    for (site, count) in state.catalog().damaged_savesets().await? {
        let labels = SiteLabels {
            site_id: site.to_string(),
        };
        gauge
            .get_or_create(&labels)
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    registry.register(
        "savesets_damaged",
        "Savesets that a verification found damaged",
        gauge,
    );
    Ok(())
}

async fn newest_saveset(
    state: &ServerState,
    site: &SiteId,
    job: JobId,
) -> Result<(Option<model::Moment>, u64), CatalogError> {
    let first = catalog::Page::Numbered { number: 1, size: 1 };
    let found = state.catalog().savesets(site, Some(job), first).await?;
    Ok((
        found.rows.first().map(|saveset| saveset.end_time),
        found.total,
    ))
}
