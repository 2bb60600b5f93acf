//! A restore that fails says where, takes away what it made, and loses nothing that was there.

use flow::{DatabaseRestore, FlowError, RestoreOutcome};
use model::{Blame, Fault as _, ObjectName, Obstacle};
use testkit::memory_engine::{MemoryDatabase, Stage, Trouble};
use testkit::{Fault, Operation, Rule, Times};
use tokio_util::sync::CancellationToken;
use vault::Saveset;

use crate::rig::{Rig, failed, rows, whole};

const DATABASES: [&str; 3] = ["crm", "erp", "shop"];

/// A saveset of three databases.
async fn with_three() -> (Rig, Saveset) {
    let rig = Rig::with_a_shop().await;
    for (name, count) in [("crm", 40), ("erp", 50)] {
        let database = MemoryDatabase::new().table("item", rows(count, 100), 7);
        rig.engine.put_database(name, database);
    }
    let mut input = rig.backup_input("7.1");
    input.databases = DATABASES.map(whole).to_vec();
    let made = flow::backup(input, |_| async { Ok(()) }, CancellationToken::new()).await;
    (rig, made.unwrap().saveset)
}

/// All three, each under a new name.
async fn restore_three(rig: &Rig, saveset: &Saveset) -> Result<RestoreOutcome, FlowError> {
    let mut input = rig.restore_input(saveset, "copy");
    input.databases = DATABASES
        .map(|name| DatabaseRestore {
            selection: whole(name),
            target_database: ObjectName::one(format!("{name}_copy")),
        })
        .to_vec();
    flow::restore(input, CancellationToken::new()).await
}

async fn with_a_saveset() -> (Rig, Saveset) {
    let rig = Rig::with_a_shop().await;
    let saveset = rig.backup().await.unwrap().saveset;
    rig.store.forget_calls();
    (rig, saveset)
}

const STAGES: [Stage; 9] = [
    Stage::OpenTarget,
    Stage::Findings,
    Stage::Prepare,
    Stage::Loader,
    Stage::Load,
    Stage::Loaded,
    Stage::Build,
    Stage::Postscript,
    Stage::Publish,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_at_any_stage_leaves_no_trace() {
    for stage in STAGES {
        let (rig, saveset) = with_a_saveset().await;
        rig.engine.trouble(stage, 1, Trouble::Fail);
        let error = failed(rig.restore(&saveset, "copy").await);
        assert_eq!(error.code(), "memory-injected", "{stage}: {error}");
        rig.assert_no_trace_of_a_restore().await;
        // And the next one works.
        rig.restore(&saveset, "copy").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_at_any_stage_is_a_failure_that_leaves_no_trace() {
    // A target that panics while it publishes is gone, and cannot be asked to discard.
    for stage in STAGES.into_iter().filter(|stage| *stage != Stage::Publish) {
        let (rig, saveset) = with_a_saveset().await;
        rig.engine.trouble(stage, 1, Trouble::Panic);
        let error = failed(rig.restore(&saveset, "copy").await);
        assert!(
            matches!(error, FlowError::Panicked { .. }),
            "{stage}: {error}"
        );
        rig.assert_no_trace_of_a_restore().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pack_that_is_not_what_was_written_ends_the_restore() {
    let mut ended = 0;
    for fault in [Fault::FlippedBit(7), Fault::CutBody(20), Fault::Missing] {
        // Footers, sheets and the dictionary come first, then rows.
        for nth in [1, 3, 5, 7, 9, 11, 13] {
            let (rig, saveset) = with_a_saveset().await;
            let rule = Rule::new(Operation::Get, "packs/*", Times::Nth(nth), fault);
            rig.store.inject(rule);
            match rig.restore(&saveset, "copy").await {
                Err(error) => {
                    assert_eq!(error.blame(), Blame::Damaged, "{fault:?} {nth}: {error}");
                    assert!(error.to_string().contains("packs/"), "{error}");
                    rig.assert_no_trace_of_a_restore().await;
                    ended += 1;
                }
                // The bit lay in front of a footer, where that read does not look.
                Ok(_) => {
                    assert_eq!(fault, Fault::FlippedBit(7), "{nth}");
                    assert_eq!(rig.engine.contents("copy"), rig.engine.contents("shop"));
                }
            }
        }
    }
    assert!(ended >= 16, "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_rows_are_told_with_their_table_and_never_end_a_load() {
    let (rig, saveset) = with_a_saveset().await;
    // The last reads are those of rows.
    let rule = Rule::new(
        Operation::Get,
        "packs/*",
        Times::From(8),
        Fault::FlippedBit(70),
    );
    rig.store.inject(rule);
    let error = failed(rig.restore(&saveset, "copy").await);
    let text = error.to_string();
    assert!(
        text.contains("reading ") && text.contains(", blocks "),
        "{text}"
    );
    assert_eq!(error.code(), "vault-damaged");
    assert_eq!(rig.engine.count(Stage::Build), 0);
    rig.assert_no_trace_of_a_restore().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_counts_fewer_rows_ends_the_restore() {
    let (rig, saveset) = with_a_saveset().await;
    rig.engine.trouble(Stage::Loaded, 3, Trouble::CountFewer);
    let error = failed(rig.restore(&saveset, "copy").await);
    let FlowError::RowsDiffer {
        expected, counted, ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(*counted + 1, *expected);
    assert_eq!(error.code(), "rows-differ");
    rig.assert_no_trace_of_a_restore().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loader_that_fails_while_another_is_opened_ends_the_restore() {
    let (rig, saveset) = with_a_saveset().await;
    rig.engine.trouble(Stage::Loader, 2, Trouble::Hang);
    rig.engine.trouble(Stage::Load, 2, Trouble::Fail);
    let error = failed(rig.restore(&saveset, "copy").await);
    assert_eq!(error.code(), "memory-injected", "{error}");
    rig.assert_no_trace_of_a_restore().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loader_that_leaves_rows_unread_is_not_believed() {
    let (rig, saveset) = with_a_saveset().await;
    rig.engine.trouble(Stage::Load, 2, Trouble::LeaveRest);
    let error = failed(rig.restore(&saveset, "copy").await);
    assert!(matches!(error, FlowError::Law { .. }), "{error}");
    rig.assert_no_trace_of_a_restore().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_the_way_ends_the_restore_before_anything_is_touched() {
    let (rig, saveset) = with_a_saveset().await;
    rig.engine.obstacle(Obstacle {
        code: "unknown-role".to_owned(),
        detail: "there is no role clerk".to_owned(),
        remedy: Some("CREATE ROLE clerk".to_owned()),
    });
    let error = failed(rig.restore(&saveset, "shop").await);
    assert_eq!(
        (error.code(), error.blame()),
        ("unknown-role", Blame::Conflict)
    );
    assert!(
        error
            .to_string()
            .contains("there is no role clerk; the database shop has tables")
    );
    assert_eq!(
        error.hint().unwrap(),
        "CREATE ROLE clerk; send \"replace_existing\": true"
    );
    assert_eq!(
        rig.engine.count(Stage::Prepare) + rig.engine.count(Stage::Discard),
        0
    );
    rig.assert_no_trace_of_a_restore().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_discard_that_fails_is_told_beside_the_first_error() {
    let (rig, saveset) = with_a_saveset().await;
    rig.engine.trouble(Stage::Build, 1, Trouble::Fail);
    rig.engine.trouble(Stage::Discard, 1, Trouble::Panic);
    let error = failed(rig.restore(&saveset, "copy").await);
    assert!(matches!(error, FlowError::LeftBehind { .. }), "{error}");
    assert_eq!(error.code(), "memory-injected");
    assert!(
        error.to_string().contains("could not be taken away"),
        "{error}"
    );
    assert_eq!(rig.engine.working_names(), ["backstay_8.1_copy"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_cannot_be_made_are_told_and_end_nothing() {
    let (rig, saveset) = with_a_saveset().await;
    rig.engine
        .build_error("the key item_pk: two rows are equal");
    let restored = rig.restore(&saveset, "copy").await.unwrap();
    assert_eq!(restored.errors, ["the key item_pk: two rows are equal"]);
    assert_eq!(rig.engine.contents("copy"), rig.engine.contents("shop"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_restore_in_its_place_leaves_what_stood_there() {
    let (rig, saveset) = with_a_saveset().await;
    rig.engine
        .put_database("shop", MemoryDatabase::new().table("new", rows(9, 9), 2));
    let before = rig.engine.contents("shop");
    rig.engine.trouble(Stage::Postscript, 1, Trouble::Fail);
    let mut input = rig.restore_input(&saveset, "shop");
    input.options.replace_existing = true;
    failed(flow::restore(input, CancellationToken::new()).await);
    assert_eq!(rig.engine.contents("shop"), before);
    rig.assert_no_trace_of_a_restore().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_databases_all_are_taken_away_when_one_of_them_fails() {
    for (stage, nth) in [
        (Stage::Prepare, 2),
        (Stage::Build, 3),
        (Stage::Postscript, 2),
        (Stage::Publish, 1),
    ] {
        let (rig, saveset) = with_three().await;
        rig.engine.trouble(stage, nth, Trouble::Fail);
        let error = failed(restore_three(&rig, &saveset).await);
        assert_eq!(error.code(), "memory-injected", "{stage}: {error}");
        assert!(!error.to_string().contains("all the same"), "{error}");
        assert_eq!(rig.engine.working_names(), Vec::<String>::new(), "{stage}");
        assert_eq!(rig.engine.database_names(), DATABASES, "{stage}");
        // And the next one works.
        restore_three(&rig, &saveset).await.unwrap();
        for name in DATABASES {
            let copy = rig.engine.contents(&format!("{name}_copy"));
            assert_eq!(copy, rig.engine.contents(name), "{stage}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_its_place_already_is_named_when_the_next_one_cannot_be_put_there() {
    let (rig, saveset) = with_three().await;
    rig.engine.trouble(Stage::Publish, 2, Trouble::Fail);
    let error = failed(restore_three(&rig, &saveset).await);
    let FlowError::PartlyPublished { published, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(published.len(), 1);
    assert_eq!(error.code(), "memory-injected");
    let text = error.to_string();
    assert!(
        text.ends_with("; the database crm_copy is restored all the same"),
        "{text}"
    );
    assert_eq!(
        rig.engine.contents("crm_copy"),
        rig.engine.contents("crm"),
        "what is in its place stays"
    );
    assert_eq!(
        rig.engine.database_names(),
        ["crm", "crm_copy", "erp", "shop"]
    );
    assert_eq!(rig.engine.working_names(), Vec::<String>::new());
    assert_eq!(rig.limits.available_permits(), 4);
}
