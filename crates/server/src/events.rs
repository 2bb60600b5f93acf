//! One execution as it goes on: server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use contract::Code;
use model::{ExecutionId, SiteId};
use tokio::sync::OwnedSemaphorePermit;

use crate::{Problem, ServerState, present};

const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What an event stream remembers between two events.
struct Watch {
    state: ServerState,
    site: SiteId,
    execution: ExecutionId,
    last: String,
    ended: bool,
    _slot: OwnedSemaphorePermit,
}

/// An event `execution` with what GET answers, now and each time something has changed, until the
/// execution has ended or the server stops.
///
/// # Errors
/// When as many clients listen as may.
pub(crate) fn stream(
    state: ServerState,
    site: SiteId,
    execution: ExecutionId,
) -> Result<Response, Problem> {
    let slot = state.event_slots().clone().try_acquire_owned();
    let slot = slot.map_err(|_| {
        let most = state.limits().event_streams;
        let detail = format!("{most} clients listen to events, which is as many as may.");
        Problem::new(Code::TooManyRequests, detail)
    })?;
    let watch = Watch {
        state,
        site,
        execution,
        last: String::new(),
        ended: false,
        _slot: slot,
    };
    let events = futures::stream::unfold(watch, |watch| async move {
        watch
            .next()
            .await
            .map(|(event, watch)| (Ok::<_, Infallible>(event), watch))
    });
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response())
}

impl Watch {
    async fn next(mut self) -> Option<(Event, Watch)> {
        loop {
            if self.ended || self.state.stopping().is_cancelled() {
                return None;
            }
            match self.look().await {
                Ok(now) if now != self.last => {
                    self.last.clone_from(&now);
                    return Some((Event::default().event("execution").data(now), self));
                }
                Ok(_) => {}
                Err(problem) => {
                    self.ended = true;
                    let code = problem.code();
                    return Some((Event::default().event("error").data(code), self));
                }
            }
            let interval = self.state.limits().event_interval;
            let stopping = self.state.stopping().clone();
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = stopping.cancelled() => {}
            }
        }
    }

    async fn look(&mut self) -> Result<String, Problem> {
        let catalog = self.state.catalog();
        let record = catalog.execution(&self.site, self.execution).await?;
        let notes = catalog.notes(self.execution).await?;
        self.ended = record.status.is_final();
        let now = record.end_time.unwrap_or_else(|| self.state.clock().now());
        let answer = present::one_execution(&record, notes, now);
        serde_json::to_string(&answer).map_err(|fault| Problem::internal(fault.to_string()))
    }
}
