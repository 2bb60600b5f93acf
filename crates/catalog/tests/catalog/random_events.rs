//! Whatever happens in whatever order: the statuses in the catalog are those that the rules give.

use std::collections::BTreeMap;

use catalog::{CatalogError, Ending, Leased, NewExecution};
use model::{ExecutionId, ExecutionStatus, JobId, RunEvent, next};
use proptest::prelude::*;
use strum::IntoEnumIterator;

use crate::world::{World, far_off, shop};

#[derive(Debug, Clone)]
enum Action {
    Enqueue {
        job: usize,
    },
    Take,
    Finish {
        lease: usize,
        event: RunEvent,
    },
    Settle {
        execution: usize,
        event: RunEvent,
        requeue: bool,
    },
    AskAbort {
        execution: usize,
    },
}

fn event() -> impl Strategy<Value = RunEvent> {
    prop::sample::select(RunEvent::iter().collect::<Vec<_>>())
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        3 => (0..3usize).prop_map(|job| Action::Enqueue { job }),
        3 => Just(Action::Take),
        3 => (any::<usize>(), event()).prop_map(|(lease, event)| Action::Finish { lease, event }),
        2 => (any::<usize>(), event(), any::<bool>()).prop_map(|(execution, event, requeue)| {
            Action::Settle { execution, event, requeue }
        }),
        1 => any::<usize>().prop_map(|execution| Action::AskAbort { execution }),
    ]
}

/// What should be in the catalog.
#[derive(Default)]
struct Expected {
    statuses: BTreeMap<ExecutionId, (JobId, ExecutionStatus)>,
    leases: Vec<Leased>,
    /// Who may write: the newest lease of each execution that was not ended.
    held: BTreeMap<ExecutionId, i64>,
}

impl Expected {
    fn live(&self, job: JobId) -> Option<ExecutionId> {
        let mut all = self.statuses.iter();
        all.find(|(_, (of, status))| *of == job && !status.is_final())
            .map(|(id, _)| *id)
    }

    fn nth(&self, number: usize) -> Option<ExecutionId> {
        let count = self.statuses.len();
        (count > 0).then(|| *self.statuses.keys().nth(number % count).unwrap())
    }

    /// The final status that an event gives, if it is an ending.
    fn ending(&self, id: ExecutionId, event: RunEvent) -> Option<ExecutionStatus> {
        next(self.statuses[&id].1, event)
            .ok()
            .filter(|status| status.is_final())
    }

    fn end(&mut self, id: ExecutionId, status: ExecutionStatus) {
        self.statuses.get_mut(&id).unwrap().1 = status;
        self.held.remove(&id);
    }
}

async fn act(world: &World, jobs: &[JobId], expected: &mut Expected, action: Action) {
    match action {
        Action::Enqueue { job } => enqueue(world, jobs[job], expected).await,
        Action::Take => take(world, expected).await,
        Action::Finish { lease, event } => finish(world, expected, lease, event).await,
        Action::Settle {
            execution,
            event,
            requeue,
        } => {
            if let Some(id) = expected.nth(execution) {
                settle(world, expected, id, event, requeue).await;
            }
        }
        Action::AskAbort { execution } => {
            if let Some(id) = expected.nth(execution) {
                ask_abort(world, expected, id).await;
            }
        }
    }
}

async fn enqueue(world: &World, job: JobId, expected: &mut Expected) {
    let result = world
        .catalog
        .enqueue(&NewExecution::of(shop(), job), None)
        .await;
    match (result, expected.live(job)) {
        (Ok(enqueued), None) => {
            expected
                .statuses
                .insert(enqueued.execution_id, (job, ExecutionStatus::Queued));
        }
        (Err(CatalogError::JobRunning { execution, .. }), Some(live)) => {
            assert_eq!(execution, live);
        }
        (result, live) => panic!("{result:?} with {live:?}"),
    }
}

async fn take(world: &World, expected: &mut Expected) {
    let taken = world.catalog.take_next(far_off(), &[]).await.unwrap();
    let mut all = expected.statuses.iter();
    let waiting = all.find(|(_, (_, status))| *status == ExecutionStatus::Queued);
    let waiting = waiting.map(|(id, _)| *id);
    assert_eq!(
        taken.as_ref().map(|leased| leased.execution.execution_id),
        waiting
    );
    if let Some(leased) = taken {
        let id = leased.execution.execution_id;
        expected.statuses.get_mut(&id).unwrap().1 = ExecutionStatus::Running;
        expected.held.insert(id, leased.epoch);
        expected.leases.push(leased);
    }
}

async fn finish(world: &World, expected: &mut Expected, lease: usize, event: RunEvent) {
    let count = expected.leases.len();
    if count == 0 {
        return;
    }
    let leased = expected.leases[lease % count].clone();
    let id = leased.execution.execution_id;
    let held = expected.held.get(&id) == Some(&leased.epoch);
    match world
        .catalog
        .finish(&leased, &Ending::because(event, "so"))
        .await
    {
        Ok(None) => assert!(!held),
        Ok(Some(status)) => {
            assert!(held);
            assert_eq!(Some(status), expected.ending(id, event));
            expected.end(id, status);
        }
        Err(CatalogError::Illegal { .. }) => {
            assert!(held && expected.ending(id, event).is_none());
        }
        Err(other) => panic!("{other}"),
    }
}

async fn settle(
    world: &World,
    expected: &mut Expected,
    id: ExecutionId,
    event: RunEvent,
    requeue: bool,
) {
    let detail = requeue.then_some("again");
    let result = world
        .catalog
        .settle(id, &Ending::because(event, "so"), detail)
        .await;
    match (result, expected.ending(id, event)) {
        (Ok(settled), Some(status)) => {
            assert_eq!(
                (settled.status, settled.requeued.is_some()),
                (status, requeue)
            );
            expected.end(id, status);
            if let Some(again) = settled.requeued {
                let job = expected.statuses[&id].0;
                expected
                    .statuses
                    .insert(again, (job, ExecutionStatus::Queued));
            }
        }
        (Err(CatalogError::Illegal { .. }), None) => {}
        (result, ending) => panic!("{result:?} with {ending:?}"),
    }
}

async fn ask_abort(world: &World, expected: &mut Expected, id: ExecutionId) {
    let before = expected.statuses[&id].1;
    match world.catalog.request_abort(id, "asked").await {
        Ok(ExecutionStatus::Aborting) => {
            assert!(matches!(
                before,
                ExecutionStatus::Running | ExecutionStatus::Aborting
            ));
            expected.statuses.get_mut(&id).unwrap().1 = ExecutionStatus::Aborting;
        }
        Ok(status) => {
            assert_eq!(
                (before, status),
                (ExecutionStatus::Queued, ExecutionStatus::Aborted)
            );
            expected.end(id, status);
        }
        Err(CatalogError::ExecutionEnded { status, .. }) => assert_eq!(status, before),
        Err(other) => panic!("{other}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_sequence_of_events_gives_a_status_that_the_rules_do_not(
        actions in prop::collection::vec(action(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::with_site().await;
            let mut jobs = Vec::new();
            for name in ["a", "b", "c"] {
                jobs.push(world.add_job(name).await);
            }
            let mut expected = Expected::default();
            for action in actions {
                act(&world, &jobs, &mut expected, action).await;
                for (id, (_, status)) in &expected.statuses {
                    assert_eq!(world.get(*id).await.status, *status);
                }
            }
            let live = expected.statuses.values().filter(|(_, status)| !status.is_final()).count();
            assert_eq!(world.catalog.unfinished().await.unwrap().len(), live);
        });
    }
}
