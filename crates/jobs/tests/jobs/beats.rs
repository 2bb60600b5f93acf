use std::time::Duration;

use model::{Beat, SiteConnection, SiteId, SiteSecrets};
use testkit::memory_engine::{Stage, Trouble};

use crate::node::{Node, eventually, nightly, site, site_definition};

const MINUTE: Duration = Duration::from_secs(60);

/// A site with a job on a server that does nothing by itself.
async fn quiet(dir: &tempfile::TempDir) -> Node {
    let engine = testkit::memory_engine::MemoryEngine::new(model::SiteType::Postgresql);
    engine.wants_beats();
    let node = Node::start_with(dir, engine, false).await;
    node.make_job(dir).await;
    node
}

async fn beats(node: &Node) -> Vec<Beat> {
    node.catalog().beats(&site()).await.unwrap()
}

#[tokio::test]
async fn an_active_site_beats_once_a_minute_and_a_day_of_beats_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let node = quiet(&dir).await;
    assert_eq!(node.jobs.beat_those_due().await, 1);
    assert_eq!(
        node.jobs.beat_those_due().await,
        0,
        "its minute has not come"
    );
    node.clock.advance(MINUTE);
    assert_eq!(node.jobs.beat_those_due().await, 1);
    let number = |n: u64| Beat(n.into());
    assert_eq!(beats(&node).await, [number(1), number(2)]);
    node.clock.advance(Duration::from_secs(25 * 3_600));
    assert_eq!(node.jobs.beat_those_due().await, 1);
    assert_eq!(beats(&node).await, [number(3)]);
    // A clock that was put back by months does not silence it for months.
    node.clock.set_back(Duration::from_secs(90 * 86_400));
    assert_eq!(node.jobs.beat_those_due().await, 1);
    assert_eq!(beats(&node).await, [number(4)]);
}

#[tokio::test]
async fn a_site_without_an_active_job_and_one_that_has_no_use_for_beats_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start_with(
        &dir,
        testkit::memory_engine::MemoryEngine::new(model::SiteType::Postgresql),
        false,
    )
    .await;
    let job = node.make_job(&dir).await;
    assert_eq!(node.jobs.beat_those_due().await, 0);
    assert_eq!(node.engine.count(Stage::Beat), 1, "it was asked");
    assert!(beats(&node).await.is_empty());
    node.engine.wants_beats();
    let mut definition = nightly();
    definition.is_active = false;
    let catalog = node.catalog();
    let changed = catalog.update_job(&site(), job, &definition, None).await;
    changed.unwrap();
    node.clock.advance(MINUTE);
    assert_eq!(node.jobs.beat_those_due().await, 0);
    assert_eq!(node.engine.count(Stage::Beat), 1);
}

#[tokio::test]
async fn a_site_that_does_not_answer_is_left_after_a_while_and_keeps_no_other_from_beating() {
    let dir = tempfile::tempdir().unwrap();
    let node = quiet(&dir).await;
    let other: SiteId = "crm".parse().unwrap();
    let mut definition = site_definition(dir.path(), "crm");
    definition.connection = SiteConnection::Postgresql {
        url: "postgres://backstay@elsewhere/postgres".to_owned(),
    };
    let made = node.jobs.make_site(definition, SiteSecrets::default());
    made.await.unwrap();
    node.catalog().create_job(&other, &nightly()).await.unwrap();
    node.engine.trouble(Stage::Beat, 1, Trouble::Hang);
    assert_eq!(node.jobs.beat_those_due().await, 1);
    let kept = node.catalog().beats(&other).await.unwrap().len() + beats(&node).await.len();
    assert_eq!(kept, 1);
    // It is asked again in its next minute, not before.
    assert_eq!(node.jobs.beat_those_due().await, 0);
    node.engine.heal();
    node.clock.advance(MINUTE);
    assert_eq!(node.jobs.beat_those_due().await, 2);
}

#[tokio::test]
async fn the_server_beats_by_itself_gives_backups_its_beats_and_goes_down_in_the_midst_of_one() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    node.engine.wants_beats();
    node.clock.advance(MINUTE);
    for _ in 0..1_000 {
        if !beats(&node).await.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let kept = beats(&node).await;
    assert!(!kept.is_empty());
    let (_, saveset) = node.backed_up(job).await;
    let vault = crate::node::vault_of(&node, &dir).await;
    let saveset = vault.open_saveset(saveset).await.unwrap();
    let told = saveset.databases()[0].facts.0["beats"].clone();
    assert_eq!(told, serde_json::to_value(&kept).unwrap());

    let asked = node.engine.count(Stage::Beat);
    node.engine.trouble(Stage::Beat, 1, Trouble::Hang);
    node.clock.advance(MINUTE);
    let engine = node.engine.clone();
    eventually(|| engine.count(Stage::Beat) > asked, "the next beat").await;
    let down = tokio::time::timeout(Duration::from_secs(5), node.shut_down());
    down.await.expect("a beat that hangs holds nothing up");
}
