//! The commit is one put-if-absent: what it does when answers are lost, late or wrong.

use std::sync::Arc;
use std::time::Duration;

use model::{Fault as _, Retry};
use testkit::{Fault, FaultyStore, Operation, Rule, Times};
use vault::{
    DeadOrAlive, FrameRun, PackId, SavesetState, StoreLimits, TombstoneCause, Vault, VaultError,
};

use crate::sample::{
    self, Keys, content, draft, execution, fill, memory, objects, read, saveset_id,
};

async fn faulty() -> (FaultyStore, Keys, Vault) {
    let store = FaultyStore::new(memory());
    let keys = Keys::new();
    let vault = keys
        .create(Arc::new(store.clone()))
        .await
        .with_limits(sample::SHORT);
    vault.own(&sample::owner()).await.unwrap();
    store.forget_calls();
    (store, keys, vault)
}

fn rule(path: &str, times: Times, fault: Fault) -> Rule {
    Rule::new(Operation::Put, path, times, fault)
}

#[tokio::test]
async fn must_8_an_answer_lost_at_any_put_is_read_back_and_the_saveset_is_committed() {
    for path in ["manifests/1", "packs/*", "pins/1"] {
        let (store, _, vault) = faulty().await;
        store.inject(rule(path, Times::Nth(1), Fault::AnswerLost));
        sample::write(&vault, 1, 1).await.unwrap();
        assert_eq!(read(&vault, saveset_id(1)).await.unwrap(), content(1));
        assert_eq!(objects(&*store.inner(), "packs").await.len(), 3);
        assert!(objects(&*store.inner(), "pins").await.is_empty());
    }
}

#[tokio::test]
async fn an_error_that_passes_is_tried_again() {
    for fault in [Fault::Error, Fault::Hang] {
        for path in ["manifests/1", "packs/*", "pins/1"] {
            let (store, _, vault) = faulty().await;
            store.inject(rule(path, Times::Nth(1), fault));
            sample::write(&vault, 1, 1).await.unwrap();
            assert_eq!(read(&vault, saveset_id(1)).await.unwrap(), content(1));
        }
    }
}

#[tokio::test]
async fn must_8_a_commit_whose_answer_stays_out_is_settled_by_the_tombstone() {
    for lost in [false, true] {
        let (store, _, vault) = faulty().await;
        let writer = vault.begin(execution(1, 1), None).await.unwrap();
        let draft = fill(&writer, 1).await.unwrap();
        let fault = if lost {
            Fault::AnswerLost
        } else {
            Fault::Error
        };
        store.inject(rule("manifests/1", Times::Every, fault));
        store.inject(Rule::new(
            Operation::Get,
            "manifests/1",
            Times::Every,
            Fault::Error,
        ));
        let error = writer.commit(draft).await.unwrap_err();
        assert!(
            matches!(error, VaultError::CommitUnknown { saveset, .. } if saveset == saveset_id(1)),
            "{error}"
        );
        assert_eq!(error.retry(), Retry::Later);
        store.heal();
        let outcome = vault
            .declare_dead(saveset_id(1), "the store was away")
            .await
            .unwrap();
        assert_eq!(
            matches!(outcome, DeadOrAlive::Committed(_)),
            lost,
            "{outcome:?}"
        );
        assert_eq!(read(&vault, saveset_id(1)).await.is_ok(), lost);
        assert!(vault.pins().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_refusal_is_not_tried_again_and_names_the_object() {
    let (store, _, vault) = faulty().await;
    store.inject(rule("packs/*", Times::Every, Fault::Denied));
    store.forget_calls();
    let error = sample::write(&vault, 1, 1).await.unwrap_err();
    assert!(matches!(error, VaultError::Denied { .. }), "{error}");
    assert!(error.to_string().contains("packs/"), "{error}");
    let puts = store
        .calls()
        .into_iter()
        .filter(|call| call.path.starts_with("packs/"));
    assert_eq!(puts.count(), 1);
}

#[tokio::test]
async fn a_store_that_never_answers_is_an_error_after_its_time() {
    let (store, _, vault) = faulty().await;
    let saveset = sample::write(&vault, 1, 1).await.unwrap();
    for operation in [Operation::Get, Operation::GetRanges, Operation::List] {
        store.inject(Rule::new(operation, "*", Times::Every, Fault::Hang));
    }
    let errors = [
        saveset.sheet(0, 0).await.err(),
        vault.saveset_states().await.err(),
        vault.open_saveset(saveset_id(1)).await.err(),
    ];
    for error in errors {
        let error = error.unwrap();
        assert!(matches!(error, VaultError::TimedOut { .. }), "{error}");
    }
}

#[tokio::test]
async fn must_5_a_run_that_was_declared_dead_cannot_commit() {
    let (store, _, vault) = faulty().await;
    let writer = vault.begin(execution(1, 1), None).await.unwrap();
    let draft = fill(&writer, 1).await.unwrap();
    let outcome = vault
        .declare_dead(saveset_id(1), "the server was restarted")
        .await
        .unwrap();
    assert!(matches!(outcome, DeadOrAlive::Dead));
    let error = writer.commit(draft).await.unwrap_err();
    assert!(
        matches!(&error, VaultError::SavesetDead { reason, .. } if reason.contains("restarted")),
        "{error}"
    );
    // Saying it again changes nothing.
    let again = vault
        .declare_dead(saveset_id(1), "another reason")
        .await
        .unwrap();
    assert!(matches!(again, DeadOrAlive::Dead));
    let states = vault.saveset_states().await.unwrap();
    let SavesetState::Tombstone(tombstone) = &states[&saveset_id(1)] else {
        panic!("{states:?}");
    };
    assert_eq!(tombstone.cause, TombstoneCause::Dead);
    assert_eq!(tombstone.reason, "the server was restarted");
    assert_eq!(
        store.count(Operation::Delete),
        1,
        "only its pin was deleted"
    );
}

#[tokio::test]
async fn must_5_a_run_that_committed_cannot_be_declared_dead() {
    let (_, _, vault) = faulty().await;
    sample::write(&vault, 1, 1).await.unwrap();
    let outcome = vault.declare_dead(saveset_id(1), "too late").await.unwrap();
    let DeadOrAlive::Committed(saveset) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(saveset.manifest().contents.execution, execution(1, 1));
    assert_eq!(read(&vault, saveset_id(1)).await.unwrap(), content(1));
}

#[tokio::test]
async fn a_saveset_given_up_leaves_a_tombstone_and_no_pin() {
    let (store, _, vault) = faulty().await;
    let writer = vault.begin(execution(1, 1), None).await.unwrap();
    fill(&writer, 1).await.unwrap();
    let reason = "r".repeat(100_000);
    assert!(matches!(
        writer.abandon(&reason).await.unwrap(),
        DeadOrAlive::Dead
    ));
    assert!(objects(&*store.inner(), "pins").await.is_empty());
    let error = vault.open_saveset(saveset_id(1)).await.unwrap_err();
    assert!(matches!(error, VaultError::SavesetDead { .. }), "{error}");
    assert!(error.to_string().len() < 2_000, "a tombstone stays small");
}

#[tokio::test]
async fn must_6_a_manifest_never_refers_to_what_was_not_put() {
    let (store, _, vault) = faulty().await;
    let refused = |error: VaultError, part: &str| {
        assert!(matches!(error, VaultError::Incomplete { .. }), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    };
    // A pack that was sealed and lost.
    let writer = vault.begin(execution(1, 1), None).await.unwrap();
    let draft_one = fill(&writer, 1).await.unwrap();
    let mut packs = writer.pack_writer().unwrap();
    packs.append(b"rows").unwrap();
    let lost = packs.take().unwrap().unwrap();
    let id = lost.id();
    drop(lost);
    refused(writer.commit(draft_one).await.unwrap_err(), &id.to_string());
    // A frame past the end of a pack; a pack that nobody wrote.
    for stranger in [false, true] {
        let writer = vault.begin(execution(1, 2), None).await.unwrap();
        let mut draft = fill(&writer, 1).await.unwrap();
        let run = &mut draft.databases[0].dictionary[0].runs[0];
        *run = FrameRun {
            pack: if stranger {
                PackId::from_bytes([9; 16])
            } else {
                run.pack
            },
            first: 0,
            count: 1_000,
        };
        refused(writer.commit(draft).await.unwrap_err(), "were not put");
    }
    // Two databases of one name.
    let writer = vault.begin(execution(1, 4), None).await.unwrap();
    let mut twice = fill(&writer, 1).await.unwrap();
    twice.databases.push(twice.databases[0].clone());
    refused(
        writer.commit(twice).await.unwrap_err(),
        "two databases shop",
    );
    // The draft of another attempt.
    let writer = vault.begin(execution(1, 3), None).await.unwrap();
    let other = draft(execution(2, 1), Vec::new(), None);
    refused(writer.commit(other).await.unwrap_err(), "2.1");
    let states = vault.saveset_states().await.unwrap();
    assert!(
        !states
            .values()
            .any(|state| *state == SavesetState::Committed),
        "{states:?}"
    );
    assert_eq!(store.count(Operation::PutMultipart), 0);
}

#[tokio::test]
async fn a_new_attempt_ends_the_earlier_one_first() {
    let (_, _, vault) = faulty().await;
    let earlier = vault.begin(execution(1, 1), None).await.unwrap();
    let draft = fill(&earlier, 1).await.unwrap();
    let later = vault.begin(execution(1, 2), None).await.unwrap();
    assert_eq!(later.saveset_id(), saveset_id(2));
    let error = earlier.commit(draft).await.unwrap_err();
    assert!(error.to_string().contains("began anew"), "{error}");
    let draft = fill(&later, 2).await.unwrap();
    later.commit(draft).await.unwrap();
    assert_eq!(read(&vault, saveset_id(2)).await.unwrap(), content(2));
}

#[tokio::test]
async fn an_execution_that_committed_cannot_begin_again_while_its_pin_tells() {
    let (store, _, vault) = faulty().await;
    // The pin of a commit whose last step was cut off.
    store.inject(Rule::new(
        Operation::Delete,
        "pins/1",
        Times::Every,
        Fault::Error,
    ));
    sample::write(&vault, 1, 1).await.unwrap();
    store.heal();
    let error = vault.begin(execution(1, 2), None).await.err().unwrap();
    assert!(
        matches!(error, VaultError::AlreadyCommitted { saveset, .. } if saveset == saveset_id(1)),
        "{error}"
    );
}

#[tokio::test]
async fn the_pin_of_a_settled_saveset_is_removed_by_the_next_run() {
    let (store, _, vault) = faulty().await;
    store.inject(Rule::new(
        Operation::Delete,
        "pins/1",
        Times::Every,
        Fault::Error,
    ));
    sample::write(&vault, 1, 1).await.unwrap();
    store.heal();
    assert_eq!(vault.pins().await.unwrap().len(), 1);
    sample::write(&vault, 2, 1).await.unwrap();
    assert!(vault.pins().await.unwrap().is_empty());
}

#[tokio::test]
async fn must_10_a_dropped_saveset_is_gone_at_once_and_its_id_is_never_taken_again() {
    let (store, _, vault) = faulty().await;
    for number in 1..=3 {
        sample::write(&vault, number, 1).await.unwrap();
    }
    let packs = objects(&*store.inner(), "packs").await;
    for id in [3, 1, 3] {
        vault.drop_saveset(saveset_id(id)).await.unwrap();
        let error = vault.open_saveset(saveset_id(id)).await.unwrap_err();
        assert!(matches!(error, VaultError::SavesetDead { .. }), "{error}");
    }
    assert_eq!(read(&vault, saveset_id(2)).await.unwrap(), content(1));
    assert_eq!(
        objects(&*store.inner(), "packs").await,
        packs,
        "a sweep frees packs, not a drop"
    );
    assert_eq!(
        sample::write(&vault, 4, 1).await.unwrap().id(),
        saveset_id(4)
    );
    let error = vault.drop_saveset(saveset_id(9)).await.unwrap_err();
    assert!(matches!(error, VaultError::NoSaveset { .. }), "{error}");
}

#[tokio::test]
async fn must_10_a_saveset_that_a_run_builds_on_is_not_dropped() {
    let (_, _, vault) = faulty().await;
    let base = sample::write(&vault, 1, 1).await.unwrap();
    let writer = vault.begin(execution(2, 1), Some(base.id())).await.unwrap();
    let error = vault.drop_saveset(base.id()).await.unwrap_err();
    assert!(matches!(error, VaultError::StillNeeded { .. }), "{error}");
    // What the base has put may be referred to.
    let mut draft = draft(writer.execution(), Vec::new(), None);
    draft.databases = base.databases().to_vec();
    let built = writer.commit(draft).await.unwrap();
    vault.drop_saveset(base.id()).await.unwrap();
    assert_eq!(built.sheet(0, 0).await.unwrap().segments.len(), 2);
    let error = vault
        .begin(execution(3, 1), Some(base.id()))
        .await
        .err()
        .unwrap();
    assert!(matches!(error, VaultError::SavesetDead { .. }), "{error}");
    assert!(vault.pins().await.unwrap().is_empty());
}

#[tokio::test]
async fn must_4_a_pin_tells_what_is_about_to_be_committed() {
    let (_, keys, vault) = faulty().await;
    let base = sample::write(&vault, 1, 1).await.unwrap().id();
    let writer = vault.begin(execution(5, 2), Some(base)).await.unwrap();
    let other = keys.open(vault.store()).await.unwrap();
    let [pin] = &other.pins().await.unwrap()[..] else {
        panic!("one pin");
    };
    assert_eq!(
        (pin.execution, pin.saveset_id),
        (execution(5, 2), saveset_id(2))
    );
    assert_eq!(
        (pin.base, pin.pack_prefix),
        (Some(base), writer.pack_prefix())
    );
    let mut packs = writer.pack_writer().unwrap();
    let place = packs.append(b"rows").unwrap();
    assert_eq!(place.pack.prefix(), pin.pack_prefix);
}

#[tokio::test]
async fn must_4_the_pin_is_put_first_and_the_manifest_last_and_little_else() {
    let (store, _, vault) = faulty().await;
    store.forget_calls();
    sample::write(&vault, 1, 1).await.unwrap();
    let puts = store
        .calls()
        .into_iter()
        .filter(|call| call.operation == Operation::Put);
    let puts: Vec<String> = puts.map(|call| call.path).collect();
    assert_eq!(puts.len(), 5, "{puts:?}");
    assert_eq!(puts[0], "pins/1", "the pin is put first");
    assert_eq!(puts[4], "manifests/1", "the manifest is put last");
    assert!(store.calls().len() <= 12, "{:?}", store.calls());
}

#[tokio::test]
async fn a_pin_is_renewed_while_its_run_lives_and_never_after() {
    let (store, _, vault) = faulty().await;
    let often = StoreLimits {
        renewal: Duration::from_millis(2),
        ..sample::SHORT
    };
    let vault = vault.with_limits(often);
    vault.own(&sample::owner()).await.unwrap();
    let renewals = || {
        let pins = store
            .calls()
            .into_iter()
            .filter(|call| call.path == "pins/1");
        pins.filter(|call| call.operation == Operation::Put).count()
    };
    for round in 1..=20 {
        let writer = vault.begin(execution(1, round), None).await.unwrap();
        let before = renewals();
        while renewals() < before + 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        match round % 3 {
            0 => drop(writer),
            1 => drop(writer.abandon("it was aborted").await.unwrap()),
            _ => {
                let draft = fill(&writer, 1).await.unwrap();
                drop(writer.commit(draft).await.unwrap());
            }
        }
        let ended = renewals();
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(renewals(), ended, "round {round}");
        assert_eq!(
            objects(&*store.inner(), "pins").await.len(),
            usize::from(round % 3 == 0)
        );
    }
}

#[test]
fn what_a_stream_holds_may_go_to_another_thread() {
    fn may_go<T: Send + 'static>() {}
    may_go::<vault::PackWriter>();
    may_go::<vault::SealedPack>();
    may_go::<vault::SavesetWriter>();
    may_go::<vault::RunReader>();
    may_go::<vault::Saveset>();
}

#[tokio::test]
async fn the_databases_of_a_saveset_have_tables_and_parts_of_their_own() {
    let (_, _, vault) = faulty().await;
    let writer = vault.begin(execution(1, 1), None).await.unwrap();
    let mut draft = fill(&writer, 5).await.unwrap();
    let mut packs = writer.pack_writer().unwrap();
    let mut never = |_| panic!("it fills no pack");
    let mut cutter = vault::FrameCutter::new(&mut packs, &mut never);
    cutter.push(b"the other one").unwrap();
    let written = cutter.finish().unwrap();
    writer
        .put_pack(packs.take().unwrap().unwrap())
        .await
        .unwrap();
    let part = vault::BlobRef {
        name: "schema.dump".to_owned(),
        runs: vault::runs(&written.places),
        plain_bytes: written.bytes,
        stored_bytes: written.stored(),
        hash: written.hash,
    };
    draft
        .databases
        .push(sample::database("crm", vec![part], None));
    let id = writer.commit(draft).await.unwrap().id();
    let saveset = vault.open_saveset(id).await.unwrap();
    assert_eq!(sample::read(&vault, id).await.unwrap(), sample::content(5));
    let mut other = saveset.blob(1, "schema.dump").unwrap();
    assert_eq!(sample::drain(&mut other).await.unwrap(), b"the other one");
    assert!(saveset.blob(1, "empty.sql").is_none() && saveset.blob(2, "schema.dump").is_none());
    assert!(saveset.sheet(1, 0).await.is_err(), "it has no table");
    let report = saveset.verify(vault::Depth::Decompress, &|_| {}).await;
    assert_eq!(report.unwrap().parts, 4);
}
