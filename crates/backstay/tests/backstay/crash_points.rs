//! One crash at every place where the order of writes matters: the `fail_point!`s of the product.
//!
//! A story is told to a server that dies at one of them: a site and a job are made, backups push each
//! other out, a saveset is deleted, one is restored. A second server finds what is left, and the story
//! goes on from where it was cut off: it must end as well as one without a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::digest::sqlite_digest;
use testkit::postgres::Server as Postgres;

use crate::http::quoted;
use crate::process::{Server, TOKEN, sample_databases};
use crate::vault_inside::VaultInside;

/// All places of the product, by what stands before `::`.
fn places() -> BTreeMap<String, BTreeSet<String>> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in rust_files(&crates) {
        let text = std::fs::read_to_string(&file).unwrap();
        for place in text.split("fail_point!(\"").skip(1) {
            let place = place.split('"').next().unwrap();
            let (family, _) = place.split_once("::").unwrap_or((place, ""));
            let is_new = found
                .entry(family.to_owned())
                .or_default()
                .insert(place.to_owned());
            assert!(is_new, "{place} is there twice: {}", file.display());
        }
    }
    found
}

fn rust_files(below: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_none_or(|name| name != "tests") {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn every_place_for_a_crash_has_a_test() {
    let families: Vec<String> = places().into_keys().collect();
    let tested = [
        "compaction",
        "flow",
        "jobs",
        "postgres",
        "recovery",
        "sqlite",
        "vault",
    ];
    assert_eq!(families, tested);
}

/// What the story is about: its databases, and a server process that may be dead.
struct Story {
    postgres: Option<Postgres>,
    process: Option<Server>,
    folder: Option<TempDir>,
    http: reqwest::Client,
    vault: PathBuf,
    recovery_key: Option<String>,
    /// How many copies its job keeps.
    kept: usize,
    done: BTreeSet<String>,
}

/// The server is not there any more.
struct Died;

impl Story {
    fn new(postgres: Option<Postgres>, crash_at: &str, kept: usize) -> Story {
        let folder = tempfile::tempdir().unwrap();
        if postgres.is_none() {
            sample_databases(folder.path());
        }
        let mut story = Story {
            vault: folder.path().join("vault"),
            folder: Some(folder),
            process: None,
            postgres,
            http: reqwest::Client::new(),
            recovery_key: None,
            kept,
            done: BTreeSet::new(),
        };
        story.start(Some(crash_at));
        story
    }

    fn start(&mut self, crash_at: Option<&str>) {
        let folder = self.folder.take().unwrap();
        let process = Server::start_in(folder, &|command| self.settings(command, crash_at));
        self.process = Some(process);
    }

    fn settings(&self, command: &mut std::process::Command, crash_at: Option<&str>) {
        command.env("BACKSTAY_ADMIN_TOKEN", TOKEN);
        if let Some(place) = crash_at {
            command.env("BACKSTAY_CRASH_AT", place);
        }
        if let Some(postgres) = &self.postgres {
            command.env("BACKSTAY_PG_BIN", postgres.tools_dir());
        }
    }

    /// Starts a server that dies before it listens, and keeps the folder.
    fn dies_at_its_start(&mut self, crash_at: &str) {
        let folder = self.folder.as_ref().unwrap().path();
        let mut command = crate::process::backstay(folder);
        command.args(["serve", "--data-dir", "data", "--listen", "127.0.0.1:0"]);
        self.settings(&mut command, Some(crash_at));
        let done = crate::process::Done::of(&mut command);
        assert_eq!(done.code, -1, "{crash_at} was not passed: {done:#?}");
    }

    fn process(&self) -> &Server {
        self.process.as_ref().unwrap()
    }

    /// Takes the dead process away; its folder stays.
    fn bury(&mut self) {
        let mut process = self.process.take().unwrap();
        let status = process.wait();
        assert_eq!(
            status.code(),
            None,
            "it died by a signal: {}",
            process.log()
        );
        self.folder = Some(process.give_up());
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(u16, Value, String), Died> {
        let url = format!("{}/data-protection/v2{path}", self.process().url);
        let mut request = self.http.request(method, url).bearer_auth(TOKEN);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        if let Some(postgres) = &self.postgres {
            let roles = postgres.least_rights_role();
            let pair = format!("{}:{}", roles.restore, roles.password);
            let coded = base64::engine::general_purpose::STANDARD.encode(pair);
            request = request.header("x-auth-credentials", format!("Basic {coded}"));
        }
        let answer = request.send().await.map_err(|_| Died)?;
        let status = answer.status().as_u16();
        let id = answer.headers().get("x-resource-id");
        let id = id.map_or(String::new(), |id| id.to_str().unwrap().to_owned());
        let text = answer.text().await.map_err(|_| Died)?;
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok((status, json, id))
    }

    async fn ended(&self, execution: &str) -> Result<Value, Died> {
        let begun = Instant::now();
        loop {
            let path = format!("/sites/shop/executions/{execution}");
            let (status, found, _) = self.call(Method::GET, &path, None).await?;
            assert_eq!(status, 200, "{found:#}");
            if !["QUEUED", "RUNNING", "ABORTING"].contains(&found["status"].as_str().unwrap()) {
                return Ok(found);
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{found:#}");
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    fn database(&self) -> &'static str {
        match self.postgres {
            Some(_) => "shop",
            None => "shop.db",
        }
    }

    fn objects(&self) -> Value {
        json!([{"object_name": quoted(self.database()), "object_type": "DATABASE",
            "parent_name": "DBC", "parent_type": "DATABASE", "include_all": true}])
    }

    fn site(&self) -> Value {
        let vault = json!({"url": format!("file://{}", self.vault.display())});
        match &self.postgres {
            Some(postgres) => {
                let roles = postgres.least_rights_role();
                let url = postgres.url("postgres", roles.backup);
                json!({"site_id": "shop", "site_type": "POSTGRESQL", "vault": vault,
                    "connection": {"url": url, "password": roles.password}})
            }
            None => json!({"site_id": "shop", "site_type": "SQLITE", "vault": vault,
                "connection": {"path": self.process().folder().join("databases")}}),
        }
    }

    /// Tells the story from where it was cut off.
    async fn tell(&mut self) -> Result<(), Died> {
        self.make_site().await?;
        let body = json!({"name": "nightly", "job_type": "BACKUP", "no_of_retention_copies": self.kept,
            "job_settings": {"objects": self.objects()}});
        let (_, jobs, _) = self
            .call(Method::GET, "/sites/shop/jobs?job-type=backup", None)
            .await?;
        if jobs == json!([]) {
            let (status, made, _) = self
                .call(Method::POST, "/sites/shop/jobs", Some(body))
                .await?;
            assert_eq!(status, 201, "{made:#}");
        }
        for backup in 1..=self.kept + 2 {
            self.back_up(&format!("backup {backup}")).await?;
            // What one run's sweep has marked, the next one's removes.
            VaultInside::age_packs(&self.vault, Duration::from_secs(48 * 3600));
        }
        self.restore().await?;
        self.delete().await?;
        self.back_up("last backup").await
    }

    /// A site whose vault could not be finished is taken away by its user, who begins again.
    async fn make_site(&mut self) -> Result<(), Died> {
        if self.recovery_key.is_some() {
            return Ok(());
        }
        let (status, found, _) = self.call(Method::GET, "/sites/shop", None).await?;
        if status == 200 {
            let (_, check, _) = self.call(Method::POST, "/sites/shop/check", None).await?;
            if check["ok"] == true {
                let path = "/sites/shop/recovery-key";
                let (_, key, _) = self.call(Method::POST, path, None).await?;
                self.recovery_key = Some(key["recovery_key"].as_str().unwrap().to_owned());
                return Ok(());
            }
            assert!(check.to_string().contains("vault"), "{check:#}");
            let (status, gone, _) = self.call(Method::DELETE, "/sites/shop", None).await?;
            assert_eq!(status, 204, "{found:#}: {gone:#}");
            if self.vault.exists() {
                std::fs::remove_dir_all(&self.vault).unwrap();
            }
        }
        let (status, made, _) = self.call(Method::POST, "/sites", Some(self.site())).await?;
        assert_eq!(status, 201, "{made:#}");
        self.recovery_key = Some(made["recovery_key"].as_str().unwrap().to_owned());
        Ok(())
    }

    async fn back_up(&mut self, which: &str) -> Result<(), Died> {
        if self.done.contains(which) {
            return Ok(());
        }
        let (status, said, id) = self
            .call(Method::POST, "/sites/shop/jobs/1/execute", None)
            .await?;
        let id = match status {
            202 => id,
            // The one that was cut off was queued again.
            409 => said["execution_id"].to_string().replace('"', ""),
            other => panic!("{other}: {said:#}"),
        };
        let ended = self.ended(&id).await?;
        assert_eq!(ended["status"], "SUCCESSFUL", "{ended:#}");
        self.done.insert(which.to_owned());
        Ok(())
    }

    async fn newest(&self) -> Result<(String, String), Died> {
        let (_, savesets, _) = self.call(Method::GET, "/sites/shop/savesets", None).await?;
        let newest = &savesets[0];
        Ok((
            newest["saveset_id"].to_string(),
            newest["execution_id"].to_string().replace('"', ""),
        ))
    }

    async fn restore(&mut self) -> Result<(), Died> {
        self.bring_back("restore", false).await?;
        if self.postgres.is_none() {
            // What PostgreSQL does with one transaction, a directory does with two steps.
            self.bring_back("replacing restore", true).await?;
        }
        Ok(())
    }

    async fn bring_back(&mut self, which: &str, replace: bool) -> Result<(), Died> {
        if self.done.contains(which) {
            return Ok(());
        }
        let jobs = "/sites/shop/jobs?job-type=restore";
        let (_, jobs, _) = self.call(Method::GET, jobs, None).await?;
        let jobs = jobs.as_array().unwrap();
        let path = match jobs.iter().find(|job| job["name"] == which) {
            Some(job) => format!("/sites/shop/jobs/{}/execute", job["job_id"]),
            None => {
                let (_, execution) = self.newest().await?;
                format!("/sites/shop/jobs/1/executions/{execution}/restores")
            }
        };
        let copy = match self.postgres {
            Some(_) => "copy",
            None => "copy.db",
        };
        let body = json!({"name": which, "target_site": "shop", "job_settings": {
            "objects": self.objects(), "run_as_a_copy_job": !replace, "replace_existing": replace,
            "restore_to_a_different_database_on_target_site": quoted(copy)}});
        let body = path.ends_with("restores").then_some(body);
        let (status, said, id) = self.call(Method::POST, &path, body).await?;
        // The name was given before the crash: the restore was over.
        let published = status == 409 && said["code"].as_str().unwrap().starts_with("target-");
        assert!(status == 202 || published, "{status}: {said:#}");
        if !published {
            let ended = self.ended(&id).await?;
            let detail = ended["status_detail"].as_str().unwrap();
            let in_the_way = ended["status"] == "FAILED" && detail.contains("copy");
            // Whoever has the file open that is put aside is warned of.
            let well = ["SUCCESSFUL", "COMPLETED_WITH_WARNINGS"].map(|status| json!(status));
            assert!(well.contains(&ended["status"]) || in_the_way, "{ended:#}");
        }
        self.done.insert(which.to_owned());
        Ok(())
    }

    async fn delete(&mut self) -> Result<(), Died> {
        if self.done.contains("delete") {
            return Ok(());
        }
        let (saveset, _) = self.newest().await?;
        if saveset != "null" {
            let path = format!("/sites/shop/savesets/{saveset}");
            let (status, said, _) = self.call(Method::DELETE, &path, None).await?;
            assert_eq!(status, 204, "{said:#}");
            // The sweep behind it is nobody's to wait for.
            tokio::time::sleep(Duration::from_millis(150)).await;
            // A crash in it is felt by the next call.
            self.newest().await?;
        }
        self.done.insert("delete".to_owned());
        Ok(())
    }

    /// Every end is written down, catalog and vault agree, what is there is whole, and nothing of a
    /// crash is left.
    async fn all_is_well(&self, place: &str) {
        let well = async {
            let (_, all, _) = self
                .call(Method::GET, "/sites/shop/executions", None)
                .await?;
            for execution in all.as_array().unwrap() {
                let status = execution["status"].as_str().unwrap();
                assert!(
                    ["SUCCESSFUL", "COMPLETED_WITH_WARNINGS", "FAILED"].contains(&status),
                    "{place}: {execution:#}"
                );
            }
            let (_, savesets, _) = self.call(Method::GET, "/sites/shop/savesets", None).await?;
            let listed: Vec<u64> = savesets
                .as_array()
                .unwrap()
                .iter()
                .map(|s| s["saveset_id"].as_u64().unwrap())
                .collect();
            let inside =
                VaultInside::with_key(self.vault.clone(), self.recovery_key.as_ref().unwrap());
            let ascending: Vec<u64> = listed.iter().rev().copied().collect();
            assert_eq!(inside.savesets().await, ascending, "{place}");
            assert_eq!(listed.len(), self.kept, "{place}: so many copies are kept");
            for saveset in listed {
                inside.verify(saveset).await;
            }
            for left in ["pins", "probe"] {
                let left = std::fs::read_dir(self.vault.join(left));
                let left = left.map_or(0, Iterator::count);
                assert_eq!(left, 0, "{place}: something of a run that ended is left");
            }
            Ok(())
        };
        let well: Result<(), Died> = well.await;
        assert!(well.is_ok(), "{place}: it died again");
        match &self.postgres {
            Some(postgres) => {
                let count = "SELECT count(*) FROM item";
                assert_eq!(postgres.psql("copy", count), postgres.psql("shop", count));
                let names = "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate";
                assert_eq!(
                    postgres.psql("postgres", names),
                    "copy postgres shop",
                    "{place}"
                );
            }
            None => {
                let databases = self.process().folder().join("databases");
                let digest = |name: &str| sqlite_digest(&databases.join(name)).unwrap();
                assert_eq!(digest("copy.db"), digest("shop.db"), "{place}");
                let names = std::fs::read_dir(&databases).unwrap();
                let names: BTreeSet<String> = names
                    .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                    .filter(|name| !name.ends_with("-wal") && !name.ends_with("-shm"))
                    .filter(|name| !name.starts_with("copy.db.before-restore-"))
                    .collect();
                assert_eq!(
                    names,
                    ["copy.db", "shop.db"].map(str::to_owned).into(),
                    "{place}"
                );
            }
        }
    }
}

async fn crash_at(place: &str, postgres: Option<Postgres>, kept: usize) {
    let mut story = Story::new(postgres, place, kept);
    assert!(story.tell().await.is_err(), "{place}: nobody came by");
    story.bury();
    story.start(None);
    assert!(story.tell().await.is_ok(), "{place}: it died again");
    story.all_is_well(place).await;
}

async fn crash_at_each_of(family: &str) {
    for place in &places()[family] {
        eprintln!("{place}");
        crash_at(place, None, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_two_writes_into_the_vault_loses_nothing() {
    crash_at_each_of("vault").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_vault_and_catalog_loses_nothing() {
    crash_at_each_of("jobs").await;
}

/// Of as many copies, each with a pack of its own at least, the small packs are merged.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_two_steps_of_a_compaction_loses_nothing() {
    for place in &places()["compaction"] {
        eprintln!("{place}");
        crash_at(place, None, 16).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_two_steps_of_a_restore_leaves_nothing_half_made() {
    for family in ["flow", "sqlite"] {
        crash_at_each_of(family).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_or_after_a_database_gets_its_name_leaves_one_of_both() {
    for place in places()["postgres"].iter().chain(&places()["flow"]) {
        eprintln!("{place}");
        let postgres = Postgres::version(17).tcp().start();
        postgres.least_rights_role();
        postgres.psql("postgres", "CREATE DATABASE shop OWNER backstay_restore");
        let rows = "SET ROLE backstay_restore;
            CREATE TABLE item AS SELECT i, md5(i::text) FROM generate_series(1, 3000) i;
            CREATE INDEX ON item (i)";
        postgres.psql("shop", rows);
        crash_at(place, Some(postgres), 1).await;
    }
}

/// A server that dies while it looks what a crash has left is followed by one that does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_an_earlier_crash_is_settled_loses_nothing() {
    for place in &places()["recovery"] {
        let first = match place.contains("succeeded") || place.contains("recorded") {
            true => "vault::the-manifest-is-put",
            false => "vault::a-pack-is-put",
        };
        eprintln!("{first}, {place}");
        let mut story = Story::new(None, first, 1);
        assert!(story.tell().await.is_err());
        story.bury();
        story.dies_at_its_start(place);
        story.start(None);
        assert!(story.tell().await.is_ok(), "{place}: it died again");
        story.all_is_well(place).await;
    }
}
