//! A network that breaks at any byte, between Backstay and an S3 store: what can be tried again is;
//! what cannot ends with the true reason, and the next run is good.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::S3Server;
use testkit::digest::sqlite_digest;
use testkit::network::{Network, Trouble, Way};

use crate::chance::{Chance, long};
use crate::process::{Server, TOKEN, sample_databases};

pub struct Shop {
    pub server: Server,
    pub network: Network,
    /// It ends with the test.
    _s3: S3Server,
}

/// A site whose vault lies behind the network, and a job; some megabytes that cannot be compressed.
async fn shop() -> Shop {
    shop_with(&|_| {}).await
}

/// The same, with more for the server's process.
pub async fn shop_with(adjust: &dyn Fn(&mut Command)) -> Shop {
    let s3 = S3Server::start().await;
    let port = s3.endpoint().rsplit_once(':').unwrap().1.parse().unwrap();
    let network = Network::before(port).await;
    let server = Server::start_in(tempfile::tempdir().unwrap(), &|command| {
        command.env("BACKSTAY_ADMIN_TOKEN", TOKEN);
        adjust(command);
    });
    let databases = sample_databases(server.folder());
    let database = rusqlite::Connection::open(databases.join("shop.db")).unwrap();
    let rows = "CREATE TABLE picture (bytes BLOB);
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
        INSERT INTO picture SELECT randomblob(20000) FROM n";
    database.execute_batch(rows).unwrap();
    let mut add = vec![
        "site".to_owned(),
        "add".to_owned(),
        "shop".to_owned(),
        "--type".to_owned(),
        "sqlite".to_owned(),
        "--path".to_owned(),
        databases.to_str().unwrap().to_owned(),
        "--vault".to_owned(),
        s3.url("shop"),
    ];
    let mut options = s3.options();
    let endpoint = format!("http://127.0.0.1:{}", network.port());
    options.insert("endpoint".into(), endpoint);
    let secret = server.folder().join("secret");
    std::fs::write(&secret, s3.secret()).unwrap();
    options.insert("secret_access_key".into(), format!("@{}", secret.display()));
    for (name, value) in options {
        add.extend(["--vault-option".to_owned(), format!("{name}={value}")]);
    }
    let add: Vec<&str> = add.iter().map(String::as_str).collect();
    server.run(&add).exits(0);
    let job = [
        "job",
        "create",
        "shop",
        "--name",
        "nightly",
        "--database",
        "shop.db",
    ];
    server.run(&job).exits(0);
    Shop {
        server,
        network,
        _s3: s3,
    }
}

impl Shop {
    /// The newest execution, once what was started has ended.
    pub async fn run(&self, command: &[&str]) -> Value {
        self.server.run(command).exits(0);
        let begun = Instant::now();
        loop {
            let newest = self.server.ask(&["execution", "list", "shop"])[0].clone();
            let status = newest["status"].as_str().unwrap();
            if !["QUEUED", "RUNNING", "ABORTING"].contains(&status) {
                let id = newest["execution_id"].as_str().unwrap();
                return self.server.ask(&["execution", "show", "shop", id]);
            }
            assert!(begun.elapsed() < LIMIT, "{newest:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn back_up(&self) -> Value {
        self.run(&["job", "run", "shop", "nightly"]).await
    }

    pub async fn restore(&self, copy: &str) -> Value {
        let restore = [
            "restore", "shop", "--job", "nightly", "--latest", "--to", copy,
        ];
        self.run(&restore).await
    }

    pub fn is_equal(&self, copy: &str) {
        let databases = self.server.folder().join("databases");
        let digest = |name: &str| sqlite_digest(&databases.join(name)).unwrap();
        assert_eq!(digest("shop.db"), digest(copy));
    }
}

/// How long a run may go on against a store that does not come back.
const LIMIT: Duration = Duration::from_secs(150);

/// Places among so many bytes: the first, the last, and some by chance.
fn places(chance: &mut Chance, total: u64) -> Vec<u64> {
    let mut places = vec![1, total - total / 100];
    places.extend((0..if long() { 12 } else { 2 }).map(|_| chance.below(total)));
    places
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_to_the_store_that_breaks_is_made_again_and_the_run_succeeds() {
    let shop = shop().await;
    let mut chance = Chance::new("where the network breaks");
    for way in [Way::ToServer, Way::FromServer] {
        shop.network.heal();
        assert_eq!(shop.back_up().await["status"], "SUCCESSFUL");
        for after in places(&mut chance, shop.network.passed(way)) {
            let trouble = *chance.of(&[Trouble::Reset, Trouble::HalfClose]);
            shop.network.strike(trouble, way, after);
            let ended = shop.back_up().await;
            let at = format!("{trouble:?} {way:?} after {after}");
            assert_eq!(ended["status"], "SUCCESSFUL", "{at}: {ended:#}");
        }
        shop.network.heal();
        let copy = format!("{way:?}.db");
        assert_eq!(shop.restore(&copy).await["status"], "SUCCESSFUL");
        shop.is_equal(&copy);
        for (place, after) in places(&mut chance, shop.network.passed(way))
            .iter()
            .enumerate()
        {
            let trouble = *chance.of(&[Trouble::Reset, Trouble::HalfClose]);
            shop.network.strike(trouble, way, *after);
            let copy = format!("{way:?}-{place}.db");
            let ended = shop.restore(&copy).await;
            let at = format!("{trouble:?} {way:?} after {after}");
            assert_eq!(ended["status"], "SUCCESSFUL", "{at}: {ended:#}");
            shop.is_equal(&copy);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_in_the_midst_of_a_run_fails_it_and_the_next_one_is_good() {
    let shop = shop().await;
    assert_eq!(shop.back_up().await["status"], "SUCCESSFUL");
    let failed_saying_why = |ended: &Value| {
        assert_eq!(ended["status"], "FAILED", "{ended:#}");
        let detail = ended["status_detail"].as_str().unwrap();
        eprintln!("{detail}");
        assert!(
            detail.contains("connect") || detail.contains("error sending request"),
            "{detail}"
        );
    };
    shop.network.strike(Trouble::Down, Way::ToServer, 2_000_000);
    let begun = Instant::now();
    failed_saying_why(&shop.back_up().await);
    eprintln!("a backup: {:?}", begun.elapsed());
    shop.network
        .strike(Trouble::Down, Way::FromServer, 2_000_000);
    let begun = Instant::now();
    failed_saying_why(&shop.restore("copy.db").await);
    eprintln!("a restore: {:?}", begun.elapsed());
    assert!(!shop.server.folder().join("databases/copy.db").exists());
    shop.network.heal();
    assert_eq!(shop.back_up().await["status"], "SUCCESSFUL");
    assert_eq!(shop.restore("copy.db").await["status"], "SUCCESSFUL");
    shop.is_equal("copy.db");
    let savesets = shop.server.ask(&["saveset", "list", "shop"]);
    assert_eq!(savesets.as_array().map(Vec::len), Some(2), "{savesets:#}");
    assert_ne!(savesets, json!([]));
}
