//! A network that breaks at any byte, between Backstay and PostgreSQL: every run ends, with the true
//! reason; nothing half-made is taken for something; the next run is good.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use testkit::digest::{assert_equal, digest};
use testkit::network::{Network, Trouble, Way};
use testkit::postgres::Server as Postgres;

use crate::chance::{Chance, long};
use crate::http::Api;

/// Rows of several segments would be too many for a test of so many runs; these are some megabytes.
const ROWS: &str = "SET ROLE backstay_restore;
    CREATE TABLE item AS SELECT i AS id, md5(i::text) || md5((-i)::text) AS name, i * 1.5 AS price
      FROM generate_series(1, 40000) i;
    ALTER TABLE item ADD PRIMARY KEY (id); CREATE INDEX ON item (name);
    CREATE TABLE sale AS SELECT i AS id, i % 40000 + 1 AS item FROM generate_series(1, 20000) i;
    ALTER TABLE sale ADD FOREIGN KEY (item) REFERENCES item;
    SELECT lo_from_bytea(0, decode(repeat('00ff', 5000), 'hex'));";

/// What a person is told when the network is the reason.
const REASONS: [&str; 6] = [
    "connection",
    "EOF on client connection",
    "cannot be reached",
    "closed",
    "unexpected end of file",
    "no answer",
];

struct Shop {
    postgres: Postgres,
    network: Network,
    api: Api,
    job: String,
}

async fn shop() -> Shop {
    shop_at("").await
}

/// `more` goes to the end of the site's URL.
async fn shop_at(more: &str) -> Shop {
    let postgres = Postgres::version(17).tcp().start();
    let roles = postgres.least_rights_role();
    postgres.psql("postgres", "CREATE DATABASE shop OWNER backstay_restore");
    postgres.psql("shop", ROWS);
    let network = Network::before(postgres.port()).await;
    let url = postgres.url("postgres", roles.backup);
    let url = url.replace(&postgres.port().to_string(), &network.port().to_string());
    let url = format!("{url}{more}");
    let api = Api::start(&postgres);
    api.site_at("pg", &url, roles.password).await.is(201);
    let job = api.job("pg", "shop", json!({})).await;
    Shop {
        postgres,
        network,
        api,
        job,
    }
}

/// How long a run may take from the trouble to its end; a hang may last as long as it is waited for.
const SOON: Duration = Duration::from_secs(20);

/// Where a network breaks, and how.
#[derive(Debug)]
struct Break {
    trouble: Trouble,
    way: Way,
    after: u64,
}

/// Some of all breaks: at the first bytes, at the last, and at places by chance.
fn breaks(chance: &mut Chance, passed: [u64; 2]) -> Vec<Break> {
    let mut all = Vec::new();
    for (way, total) in [(Way::ToServer, passed[0]), (Way::FromServer, passed[1])] {
        let more = if long() { 12 } else { 2 };
        let mut places = vec![1, total - total / 50];
        places.extend((0..more).map(|_| chance.below(total)));
        for after in places {
            let trouble = *chance.of(&[Trouble::Reset, Trouble::HalfClose, Trouble::Down]);
            all.push(Break {
                trouble,
                way,
                after,
            });
        }
    }
    all
}

/// The execution, which ended in time: well, or with a reason that names the network.
async fn ended(shop: &Shop, execution: &str, at: &Break) -> Value {
    let begun = Instant::now();
    let ended = shop.api.ended("pg", execution).await;
    assert!(begun.elapsed() < SOON, "{at:?}: {:?}", begun.elapsed());
    let detail = ended["status_detail"].as_str().unwrap();
    eprintln!("{at:?}: {} {detail}", ended["status"]);
    match ended["status"].as_str().unwrap() {
        "FAILED" => assert!(
            REASONS.iter().any(|reason| detail.contains(reason)),
            "{at:?}: {detail}"
        ),
        "SUCCESSFUL" | "COMPLETED_WITH_WARNINGS" => {}
        other => panic!("{at:?}: {other}: {detail}"),
    }
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_ends_wherever_its_network_breaks_and_the_next_one_is_good() {
    let shop = shop().await;
    shop.network.heal();
    let good = shop.api.back_up("pg", &shop.job).await;
    let passed = [Way::ToServer, Way::FromServer].map(|way| shop.network.passed(way));
    let mut savesets = 1;
    let mut failed = 0;
    for at in breaks(&mut Chance::new("where the network breaks"), passed) {
        shop.network.strike(at.trouble, at.way, at.after);
        let execution = shop.api.execute("pg", &shop.job).await;
        let ended = ended(&shop, &execution, &at).await;
        shop.network.heal();
        match ended["saveset_id"].is_u64() {
            true => savesets += 1,
            false => failed += 1,
        }
    }
    assert!(failed > 0, "no break was felt");
    let last = shop.api.back_up("pg", &shop.job).await;
    let kept = shop.api.get("/sites/pg/savesets").await;
    assert_eq!(kept.as_array().unwrap().len(), (savesets + 1).min(7));
    let roles = shop.postgres.least_rights_role();
    let before = digest(&shop.postgres.connect("shop").await).await.unwrap();
    for (execution, copy) in [(good, "first"), (last, "last")] {
        if savesets + 1 > 7 && copy == "first" {
            continue;
        }
        let backup = ("pg", shop.job.as_str(), execution.as_str());
        shop.api.restore(backup, ("shop", copy), &roles).await;
        let after = digest(&shop.postgres.connect(copy).await).await.unwrap();
        assert_equal(&before, &after);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_ends_wherever_its_network_breaks_and_goes_on_afterwards() {
    let shop = shop().await;
    let roles = shop.postgres.least_rights_role();
    let credentials = Some((roles.restore, roles.password));
    let backup = shop.api.back_up("pg", &shop.job).await;
    let backup = ("pg", shop.job.as_str(), backup.as_str());
    shop.network.heal();
    shop.api.restore(backup, ("shop", "good"), &roles).await;
    let passed = [Way::ToServer, Way::FromServer].map(|way| shop.network.passed(way));
    let before = digest(&shop.postgres.connect("shop").await).await.unwrap();
    let mut chance = Chance::new("where the network breaks");
    for (place, at) in breaks(&mut chance, passed).into_iter().enumerate() {
        let copy = format!("copy{place}");
        shop.network.strike(at.trouble, at.way, at.after);
        let asked = shop
            .api
            .ask_restore(backup, ("shop", &copy), credentials)
            .await;
        if asked.status == 502 {
            // The plan is made before it is answered.
            assert!(asked.text.contains("reached"), "{at:?}: {}", asked.text);
            shop.network.heal();
            continue;
        }
        let restore = asked.is(202).id();
        let mut ended = ended(&shop, &restore, &at).await;
        shop.network.heal();
        if ended["status"] == "FAILED" {
            let there = "SELECT count(*) FROM pg_database WHERE datname = ";
            let there = shop.postgres.psql("postgres", &format!("{there}'{copy}'"));
            assert_eq!(there, "0", "{at:?}: the name is taken: {ended:#}");
            let path = format!("/sites/pg/jobs/{}/execute", ended["job_id"]);
            let again = shop.api.call(Method::POST, &path, None, credentials).await;
            ended = shop.api.ended("pg", &again.is(202).id()).await;
        }
        assert_eq!(ended["status"], "SUCCESSFUL", "{at:?}: {ended:#}");
        let after = digest(&shop.postgres.connect(&copy).await).await.unwrap();
        assert_equal(&before, &after);
    }
    let left = "SELECT string_agg(datname, ' ') FROM pg_database WHERE datname LIKE 'backstay%'";
    assert_eq!(shop.postgres.psql("postgres", left), "");
}

/// A login may take two seconds there, so that silence is noticed after four.
const IMPATIENT: &str = "?connect_timeout=2";

#[track_caller]
fn ended_by_silence(ended: &Value, begun: Instant) {
    assert_eq!(ended["status"], "FAILED", "{ended:#}");
    let detail = ended["status_detail"].as_str().unwrap();
    let told = ["it hangs", "no answer within", "not answered within"];
    assert!(told.iter().any(|words| detail.contains(words)), "{detail}");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_server_falls_silent_ends_by_itself_and_the_next_one_is_good() {
    let shop = shop_at(IMPATIENT).await;
    shop.network.heal();
    shop.api.back_up("pg", &shop.job).await;
    let total = shop.network.passed(Way::FromServer);
    // At the first answer, among the catalog's, and in the midst of rows.
    for after in [1, 20_000, total / 2] {
        shop.network.strike(Trouble::Hang, Way::FromServer, after);
        let begun = Instant::now();
        let backup = shop.api.execute("pg", &shop.job).await;
        ended_by_silence(&shop.api.ended("pg", &backup).await, begun);
        assert!(shop.network.struck(), "after {after} of {total}");
        shop.network.heal();
    }
    shop.api.back_up("pg", &shop.job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_whose_server_falls_silent_ends_by_itself_and_can_be_continued() {
    let shop = shop_at(IMPATIENT).await;
    let roles = shop.postgres.least_rights_role();
    let credentials = Some((roles.restore, roles.password));
    let backup = shop.api.back_up("pg", &shop.job).await;
    let backup = ("pg", shop.job.as_str(), backup.as_str());
    shop.network.heal();
    shop.api.restore(backup, ("shop", "good"), &roles).await;
    let total = shop.network.passed(Way::ToServer);
    // In the midst of rows, and among the statements behind them.
    for (copy, after) in [("one", total / 2), ("two", total - total / 500)] {
        let asked = shop.api.ask_restore(backup, ("shop", copy), credentials);
        shop.network.strike(Trouble::Hang, Way::ToServer, after);
        let begun = Instant::now();
        let restore = asked.await.is(202).id();
        let ended = shop.api.ended("pg", &restore).await;
        ended_by_silence(&ended, begun);
        shop.network.heal();
        let path = format!("/sites/pg/jobs/{}/execute", ended["job_id"]);
        let again = shop.api.call(Method::POST, &path, None, credentials).await;
        let ended = shop.api.ended("pg", &again.is(202).id()).await;
        assert_eq!(ended["status"], "SUCCESSFUL", "{ended:#}");
        let rows = "SELECT count(*) FROM item";
        assert_eq!(shop.postgres.psql(copy, rows), "40000");
    }
}
