use object_store::memory::InMemory;
use object_store::{Error, ObjectStoreExt, PutMode};

use super::*;

fn store() -> FaultyStore {
    FaultyStore::new(Arc::new(InMemory::new()))
}

fn path(text: &str) -> Path {
    Path::from(text)
}

#[tokio::test]
async fn the_nth_call_that_fits_fails_and_no_other() {
    let store = store();
    store.inject(Rule::new(
        Operation::Put,
        "packs/*",
        Times::Nth(2),
        Fault::Error,
    ));
    store.put(&path("packs/1"), "a".into()).await.unwrap();
    store.put(&path("keys/1"), "a".into()).await.unwrap();
    store.put(&path("packs/2"), "a".into()).await.unwrap_err();
    store.get(&path("packs/2")).await.unwrap_err();
    store.put(&path("packs/2"), "a".into()).await.unwrap();
    let faults: Vec<_> = store.calls().into_iter().map(|call| call.fault).collect();
    assert_eq!(faults, [None, None, Some(Fault::Error), None, None]);
}

#[tokio::test]
async fn a_lost_answer_leaves_the_object() {
    let store = store();
    store.inject(Rule::new(
        Operation::Put,
        "*",
        Times::Nth(1),
        Fault::AnswerLost,
    ));
    store.put(&path("m"), "rows".into()).await.unwrap_err();
    let again = store
        .put_opts(&path("m"), "rows".into(), PutMode::Create.into())
        .await;
    assert!(
        matches!(again, Err(Error::AlreadyExists { .. })),
        "{again:?}"
    );
}

#[tokio::test]
async fn bodies_are_cut_broken_and_flipped() {
    let store = store();
    store.put(&path("p"), "0123456789".into()).await.unwrap();
    let get = || async { store.get(&path("p")).await?.bytes().await };
    store.inject(Rule::new(
        Operation::Get,
        "p",
        Times::Nth(1),
        Fault::CutBody(4),
    ));
    store.inject(Rule::new(
        Operation::Get,
        "p",
        Times::Nth(2),
        Fault::BrokenBody(4),
    ));
    store.inject(Rule::new(
        Operation::Get,
        "p",
        Times::Nth(3),
        Fault::FlippedBit(1),
    ));
    assert_eq!(get().await.unwrap(), "0123");
    get().await.unwrap_err();
    assert_eq!(get().await.unwrap(), "0023456789");
    assert_eq!(get().await.unwrap(), "0123456789");
    store.inject(Rule::new(
        Operation::GetRanges,
        "p",
        Times::Every,
        Fault::CutBody(1),
    ));
    let ranges = store.get_ranges(&path("p"), &[0..2, 5..8]).await.unwrap();
    assert_eq!(ranges, ["0", "5"]);
}

#[tokio::test]
async fn missing_denied_delayed_and_hanging_calls() {
    let store = store();
    store.put(&path("p"), "x".into()).await.unwrap();
    store.inject(Rule::new(
        Operation::Head,
        "p",
        Times::Nth(1),
        Fault::Missing,
    ));
    store.inject(Rule::new(
        Operation::Head,
        "p",
        Times::Nth(2),
        Fault::Denied,
    ));
    let delay = Duration::from_millis(50);
    store.inject(Rule::new(
        Operation::Head,
        "p",
        Times::Nth(3),
        Fault::Delay(delay),
    ));
    store.inject(Rule::new(Operation::Head, "p", Times::From(4), Fault::Hang));
    let head = store.head(&path("p")).await;
    assert!(matches!(head, Err(Error::NotFound { .. })), "{head:?}");
    let head = store.head(&path("p")).await;
    assert!(
        matches!(head, Err(Error::PermissionDenied { .. })),
        "{head:?}"
    );
    let began = std::time::Instant::now();
    store.head(&path("p")).await.unwrap();
    assert!(began.elapsed() >= delay);
    for _ in 0..2 {
        let location = path("p");
        let waited = tokio::time::timeout(delay, store.head(&location)).await;
        assert!(waited.is_err(), "answered");
    }
    store.heal();
    store.head(&path("p")).await.unwrap();
}

#[tokio::test]
async fn listings_and_deletes_fail_too() {
    use futures::TryStreamExt;
    let store = store();
    store.put(&path("a/1"), "x".into()).await.unwrap();
    store.inject(Rule::new(Operation::List, "a", Times::Nth(1), Fault::Error));
    store.inject(Rule::new(
        Operation::Delete,
        "a/1",
        Times::Nth(1),
        Fault::Error,
    ));
    let list = || store.list(Some(&path("a"))).try_collect::<Vec<_>>();
    list().await.unwrap_err();
    store.delete(&path("a/1")).await.unwrap_err();
    assert_eq!(list().await.unwrap().len(), 1);
    store.delete(&path("a/1")).await.unwrap();
    assert_eq!(list().await.unwrap().len(), 0);
}

#[tokio::test]
async fn after_the_crash_nothing_more_is_written() {
    for n in 1..=3 {
        let store = store();
        store.crash_at(n);
        let run = async {
            for i in 1..=3 {
                store
                    .put(&path(&format!("p/{i}")), "x".into())
                    .await
                    .unwrap();
            }
        };
        tokio::select! {
            () = run => panic!("ended without the crash"),
            () = store.crashed() => {}
        }
        let left = store
            .inner()
            .list_with_delimiter(Some(&path("p")))
            .await
            .unwrap();
        assert_eq!(left.objects.len(), n - 1);
        assert_eq!(store.calls().len(), n - 1);
    }
}
