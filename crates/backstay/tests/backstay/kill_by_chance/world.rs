//! A site, its database that changes, and what is known of its savesets.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use testkit::digest::{Digest, assert_equal, digest};
use testkit::postgres::Server as Postgres;

use crate::chance::Chance;
use crate::http::Api;
use crate::vault_inside::VaultInside;

/// Small enough for many runs, with something of each phase.
const ROWS: &str = "SET ROLE backstay_restore;
    CREATE TABLE state (n bigint);
    CREATE TABLE item AS SELECT i AS id, md5(i::text) || md5((-i)::text) AS name FROM generate_series(1, 30000) i;
    ALTER TABLE item ADD PRIMARY KEY (id); CREATE INDEX ON item (name);
    CREATE TABLE sale (id serial, item int REFERENCES item)";

/// How long it may take until everything has ended after a kill.
const LIMIT: Duration = Duration::from_secs(60);

/// What a failure says: the server that stopped, or the database that is away.
const REASONS: [&str; 10] = [
    "server stopped",
    "stopped while this restore ran",
    "stopped before this restore began",
    "connection",
    "cannot be reached",
    // Of pg_dumpall, which says no more.
    "could not connect",
    "terminat",
    "postmaster exit",
    "starting up",
    // Of pg_dump, when the session that exported it was the one that was killed.
    "snapshot \"",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Backup,
    Restore,
    /// A saveset is deleted, and what earlier deletions left is old enough to be removed.
    Sweep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// SIGKILL to `backstay serve`.
    Server,
    /// SIGKILL to all of PostgreSQL.
    Database,
    /// SIGKILL to the backend of a stream: PostgreSQL then starts itself anew.
    Backend,
    /// One session is ended by an administrator.
    Session,
}

/// A restore that was asked for.
pub struct Restore {
    execution: String,
    saveset: u64,
}

#[derive(Default)]
pub struct Begun {
    pub restore: Option<Restore>,
}

pub struct World {
    postgres: Postgres,
    api: Api,
    job: String,
    vault: VaultInside,
    /// What the database held at each state.
    states: BTreeMap<i64, Digest>,
    /// Savesets that have passed their check, and their executions.
    checked: BTreeMap<u64, String>,
    /// Savesets whose deletion was asked for.
    given_up: BTreeSet<u64>,
    usual: BTreeMap<u8, Duration>,
}

impl World {
    pub async fn new() -> World {
        let postgres = Postgres::version(17).tcp().start();
        let roles = postgres.least_rights_role();
        postgres.psql("postgres", "CREATE DATABASE shop OWNER backstay_restore");
        postgres.psql("shop", ROWS);
        let api = Api::start(&postgres);
        let url = postgres.url("postgres", roles.backup);
        let made = api.site_at("pg", &url, roles.password).await.is(201);
        let vault = VaultInside::of(api.process.folder().join("vault-pg"), &made);
        let job = api.job("pg", "shop", json!({})).await;
        let mut all = api.get(&format!("/sites/pg/jobs/{job}")).await;
        all["no_of_retention_copies"] = json!(10_000);
        let path = format!("/sites/pg/jobs/{job}");
        api.call(Method::PUT, &path, Some(&all), None).await.is(200);
        let mut world = World {
            postgres,
            api,
            job,
            vault,
            states: BTreeMap::new(),
            checked: BTreeMap::new(),
            given_up: BTreeSet::new(),
            usual: BTreeMap::new(),
        };
        world.measure().await;
        world
    }

    /// How long each deed takes when nobody disturbs it.
    async fn measure(&mut self) {
        let mut chance = Chance::new("the state at the beginning");
        self.change(&mut chance).await;
        for deed in [Deed::Backup, Deed::Restore] {
            let begun = Instant::now();
            let asked = self.begin(deed, &mut chance).await;
            self.all_has_ended().await;
            self.usual.insert(deed as u8, begun.elapsed());
            self.what_was_committed_is_there().await;
            if let Some(restore) = asked.restore {
                self.nothing_half_restored(&restore, &mut chance).await;
            }
        }
        // With the compaction behind it.
        self.usual
            .insert(Deed::Sweep as u8, Duration::from_millis(200));
    }

    pub fn usual(&self, deed: Deed) -> Duration {
        self.usual[&(deed as u8)]
    }

    /// The application works; then it is still again.
    pub async fn change(&mut self, chance: &mut Chance) {
        let n = i64::try_from(self.states.len()).unwrap() + 1;
        let (from, many) = (chance.below(29_000) + 1, chance.below(500));
        let sql = format!(
            "INSERT INTO state VALUES ({n});
             UPDATE item SET name = md5('{n}' || name) WHERE id BETWEEN {from} AND {from} + {many};
             INSERT INTO sale (item) SELECT {from} FROM generate_series(1, 20)"
        );
        let client = self.postgres.connect("shop").await;
        client.batch_execute(&sql).await.unwrap();
        self.states.insert(n, digest(&client).await.unwrap());
    }

    /// Asks for it. A backup that is queued again after an earlier kill may be in the way of another.
    pub async fn begin(&mut self, deed: Deed, chance: &mut Chance) -> Begun {
        let mut begun = Begun::default();
        let there: Vec<u64> = self.checked.keys().copied().collect();
        match deed {
            Deed::Backup => {
                let path = format!("/sites/pg/jobs/{}/execute", self.job);
                self.api.post(&path, &json!({})).await.is(202);
            }
            Deed::Restore => {
                let saveset = *chance.of(&there);
                begun.restore = Some(self.restore(saveset, "copy").await);
            }
            Deed::Sweep => {
                // What the last sweep has marked is removed by this one.
                self.vault.age(Duration::from_secs(48 * 3600));
                if there.len() > 2 {
                    let saveset = *chance.of(&there);
                    self.given_up.insert(saveset);
                    self.checked.remove(&saveset);
                    let path = format!("/sites/pg/savesets/{saveset}");
                    // It is killed in its midst: this call must not be waited for.
                    let (url, path) = (self.api.process.url.clone(), path);
                    tokio::spawn(async move {
                        let url = format!("{url}/data-protection/v2{path}");
                        let call = reqwest::Client::new().delete(url);
                        call.bearer_auth(crate::process::TOKEN).send().await.ok()
                    });
                }
            }
        }
        begun
    }

    async fn restore(&self, saveset: u64, copy: &str) -> Restore {
        let roles = self.postgres.least_rights_role();
        let credentials = Some((roles.restore, roles.password));
        let backup = ("pg", self.job.as_str(), self.checked[&saveset].as_str());
        let asked = self.api.ask_restore(backup, ("shop", copy), credentials);
        Restore {
            execution: asked.await.is(202).id(),
            saveset,
        }
    }

    pub async fn kill(mut self, victim: Victim) -> World {
        match victim {
            Victim::Server => self.api = self.api.restarted_after("KILL", &self.postgres),
            Victim::Database => {
                self.postgres.crash();
                self.postgres.restart();
            }
            Victim::Session => {
                let ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE application_name LIKE 'backstay%' ORDER BY random() LIMIT 1";
                self.postgres.psql("postgres", ended);
            }
            Victim::Backend => {
                let pid = "SELECT pid FROM pg_stat_activity
                    WHERE application_name LIKE 'backstay%' ORDER BY random() LIMIT 1";
                let pid = self.postgres.psql("postgres", pid);
                if !pid.is_empty() {
                    let killed = Command::new("kill").args(["-s", "KILL", &pid]).status();
                    assert!(killed.is_ok());
                    self.database_is_back().await;
                }
            }
        }
        self
    }

    async fn database_is_back(&self) {
        let begun = Instant::now();
        // It ends its other sessions first, and may still answer then.
        tokio::time::sleep(Duration::from_millis(100)).await;
        while self.postgres.try_psql("shop", "SELECT 1").is_err() {
            assert!(begun.elapsed() < LIMIT, "PostgreSQL does not come back");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn executions(&self) -> Vec<Value> {
        let all = self.api.get("/sites/pg/executions").await;
        all.as_array().unwrap().clone()
    }

    /// Nothing is queued, running or being aborted any more; what failed says why.
    pub async fn all_has_ended(&self) {
        let begun = Instant::now();
        let all = loop {
            let all = self.executions().await;
            let under_way = |e: &&Value| {
                ["QUEUED", "RUNNING", "ABORTING"].contains(&e["status"].as_str().unwrap())
            };
            match all.iter().find(under_way) {
                None => break all,
                Some(e) => assert!(begun.elapsed() < LIMIT, "it does not end: {e:#}"),
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        };
        for execution in all.iter().filter(|e| e["status"] == "FAILED") {
            let why = execution["status_detail"].as_str().unwrap();
            assert!(
                REASONS.iter().any(|reason| why.contains(reason)),
                "an untold reason: {why}"
            );
            assert_eq!(
                execution["saveset_id"].is_u64(),
                execution["job_type"] == "RESTORE"
            );
        }
    }

    /// Catalog and vault agree; every saveset passes its check; none is missing.
    pub async fn what_was_committed_is_there(&mut self) {
        let listed = self.api.get("/sites/pg/savesets").await;
        let mut listed: Vec<u64> = listed
            .as_array()
            .unwrap()
            .iter()
            .map(|saveset| saveset["saveset_id"].as_u64().unwrap())
            .collect();
        listed.sort_unstable();
        let inside = self.vault.savesets().await;
        assert_eq!(listed, inside, "the catalog, and the vault");
        for execution in self.executions().await {
            let good = ["SUCCESSFUL", "COMPLETED_WITH_WARNINGS"];
            let is_good = good.contains(&execution["status"].as_str().unwrap());
            if execution["job_type"] != "BACKUP" || !is_good {
                continue;
            }
            let saveset = execution["saveset_id"].as_u64().unwrap();
            let id = execution["execution_id"].as_str().unwrap();
            if self.given_up.contains(&saveset) {
                continue;
            }
            assert!(inside.contains(&saveset), "saveset {saveset} is lost");
            if !self.checked.contains_key(&saveset) {
                self.vault.verify(saveset).await;
                self.checked.insert(saveset, id.to_owned());
            }
        }
        let known = |id: &u64| self.checked.contains_key(id) || self.given_up.contains(id);
        let unknown: Vec<&u64> = inside.iter().filter(|id| !known(id)).collect();
        assert!(unknown.is_empty(), "savesets of no run: {unknown:?}");
    }

    /// The restored database is whole or not there; what failed can be continued.
    pub async fn nothing_half_restored(&self, restore: &Restore, chance: &mut Chance) {
        let mut ended = self.api.execution("pg", &restore.execution).await;
        let is_there = "SELECT count(*) FROM pg_database WHERE datname = 'copy'";
        let is_there = self.postgres.psql("postgres", is_there) == "1";
        if ended["status"] == "FAILED" {
            // It may have been published a moment before.
            if is_there {
                self.holds_a_state("copy").await;
                self.postgres.psql("postgres", "DROP DATABASE copy");
            }
            if chance.below(2) == 0 {
                ended = self.continued(&ended).await;
            }
        }
        let whole_or_nothing = ["SUCCESSFUL", "FAILED"].map(|status| json!(status));
        assert!(whole_or_nothing.contains(&ended["status"]), "{ended:#}");
        if ended["status"] == "SUCCESSFUL" {
            self.holds_a_state("copy").await;
            self.postgres.psql("postgres", "DROP DATABASE copy");
            let left = self.left_of(&ended["job_id"]).await;
            assert_eq!(left, "", "after {ended:#} of saveset {}", restore.saveset);
        }
        let left = "SELECT format('DROP DATABASE %I', datname) FROM pg_database WHERE datname ~ 'backstay_'";
        for drop in self.postgres.psql("postgres", left).lines() {
            self.postgres.psql("postgres", drop);
        }
    }

    /// Working databases of a restore's runs. Those of others may still be in the making: PostgreSQL
    /// ends a CREATE DATABASE whose client was killed in its own time.
    async fn left_of(&self, job: &Value) -> String {
        let all = self.executions().await;
        let runs = all.iter().filter(|run| run["job_id"] == *job);
        let names: Vec<String> = runs
            .map(|run| format!("backstay_{}_", run["execution_id"].as_str().unwrap()))
            .collect();
        let sql = format!(
            "SELECT string_agg(datname, ' ') FROM pg_database WHERE datname ~ '^({})'",
            names.join("|")
        );
        self.postgres.psql("postgres", &sql)
    }

    async fn continued(&self, failed: &Value) -> Value {
        let roles = self.postgres.least_rights_role();
        let credentials = Some((roles.restore, roles.password));
        let path = format!("/sites/pg/jobs/{}/execute", failed["job_id"]);
        let again = self.api.call(Method::POST, &path, None, credentials).await;
        let ended = self.api.ended("pg", &again.is(202).id()).await;
        assert_eq!(ended["status"], "SUCCESSFUL", "{ended:#}");
        ended
    }

    /// The database is as the shop was at one moment.
    async fn holds_a_state(&self, database: &str) {
        let client = self.postgres.connect(database).await;
        let newest = client.query_one("SELECT max(n) FROM state", &[]).await;
        let newest: i64 = newest.unwrap().get(0);
        assert_equal(&self.states[&newest], &digest(&client).await.unwrap());
    }

    pub async fn everything_can_be_restored(&self) {
        for saveset in self.checked.keys() {
            self.vault.verify(*saveset).await;
            let restore = self.restore(*saveset, "copy").await;
            let ended = self.api.ended("pg", &restore.execution).await;
            assert_eq!(ended["status"], "SUCCESSFUL", "{ended:#}");
            self.holds_a_state("copy").await;
            self.postgres.psql("postgres", "DROP DATABASE copy");
        }
        eprintln!(
            "{} savesets restored, {} deleted meanwhile, {} executions",
            self.checked.len(),
            self.given_up.len(),
            self.executions().await.len()
        );
    }
}
