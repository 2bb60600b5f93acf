//! Single tables out of a saveset, objects left out, and writers that wait.

use std::path::Path;
use std::sync::Arc;

use engine_sqlite::SqliteEngine;
use model::{
    ChosenObject, DatabaseSelection, Engine, ExcludedObject, ObjectName, ObjectType, Outcome, Scope,
};
use testkit::RecordedProgress;

use crate::hand::{Copy, back_up, fill, integrity, make, names, open_target, request, site};

const SOURCE: &str = "
    PRAGMA user_version = 7;
    CREATE TABLE customer(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, big AS (upper(name)) STORED);
    INSERT INTO customer(name) VALUES('ann'), ('bob'), ('eve'); DELETE FROM customer WHERE name = 'eve';
    CREATE INDEX by_name ON customer(name COLLATE NOCASE) WHERE name <> '';
    CREATE TABLE log(what);
    INSERT INTO log VALUES('a'), ('b'), ('c'); DELETE FROM log WHERE what = 'b';
    CREATE TRIGGER logged AFTER INSERT ON customer BEGIN INSERT INTO log VALUES(new.name); END;
    CREATE TABLE bill(id INTEGER PRIMARY KEY, customer REFERENCES customer(id), total REAL CHECK (total > 0)) STRICT;
    CREATE TABLE \"key\"(k TEXT PRIMARY KEY, v) WITHOUT ROWID;
    INSERT INTO \"key\" VALUES('x', 1.5), ('y', NULL);
    CREATE VIRTUAL TABLE note USING fts5(body);
    INSERT INTO note VALUES('some words');
    CREATE VIEW names AS SELECT name FROM customer;
    CREATE VIEW others AS SELECT what FROM log;";

struct Scene {
    directory: tempfile::TempDir,
    copy: Copy,
    progress: Arc<RecordedProgress>,
}

impl Scene {
    /// A saveset of [`SOURCE`] without STRICT's `bill`, and a site with `live.db` made so.
    async fn new(live: &str) -> Scene {
        let other = tempfile::tempdir().unwrap();
        let source = SOURCE
            .replace(
                "total REAL CHECK (total > 0)) STRICT",
                "total REAL CHECK (total > 0))",
            )
            .replace(
                "customer REFERENCES customer(id)",
                "customer INTEGER REFERENCES customer(id)",
            );
        make(&other.path().join("shop.db"), &source);
        let directory = tempfile::tempdir().unwrap();
        if !live.is_empty() {
            make(&directory.path().join("live.db"), live);
        }
        Scene {
            copy: back_up(other.path(), "shop.db")
                .await
                .unwrap_or_else(|f| panic!("{}", f.sentence())),
            directory,
            progress: Arc::new(RecordedProgress::new()),
        }
    }

    async fn restore(&self, scope: Scope, as_copy: bool) -> Outcome<Vec<String>> {
        let mut request = request(&self.copy, "live.db", &self.progress);
        request.selection = DatabaseSelection {
            database: ObjectName::one("shop.db"),
            scope,
        };
        request.as_copy = as_copy;
        let mut target = open_target(self.directory.path(), request).await?;
        let findings = target.findings().await?;
        if !findings.obstacles.is_empty() {
            return Ok(findings.obstacles.into_iter().map(|o| o.code).collect());
        }
        let done = async {
            fill(target.as_mut(), &self.copy.segments).await?;
            assert_eq!(target.build(1).await?.errors, [""; 0]);
            target.postscript().await
        };
        if let Err(error) = done.await {
            target.discard().await?;
            return Err(error);
        }
        target.publish().await?;
        Ok(Vec::new())
    }

    async fn bring(&self, tables: &[(&str, &str)]) {
        let done = self.restore(only(tables), false).await;
        let obstacles = done.unwrap_or_else(|fault| panic!("{}", fault.sentence()));
        assert_eq!(obstacles, [""; 0]);
        assert_eq!(
            names(self.directory.path()),
            ["live.db"],
            "nothing else is left"
        );
        assert_eq!(integrity(&self.live()), ["ok"]);
    }

    fn live(&self) -> std::path::PathBuf {
        self.directory.path().join("live.db")
    }

    fn ask(&self, question: &str) -> String {
        ask(&self.live(), question)
    }
}

fn ask(path: &Path, question: &str) -> String {
    let database = rusqlite::Connection::open(path).unwrap();
    let answer = database.query_row(question, [], |row| row.get::<_, Option<String>>(0));
    answer
        .unwrap_or_else(|e| panic!("{question}: {e}"))
        .unwrap_or_default()
}

fn only(tables: &[(&str, &str)]) -> Scope {
    let chosen = tables.iter().map(|(from, to)| {
        let mut object = ChosenObject::new(ObjectName::one(*from), ObjectType::Table);
        object.rename_to = (from != to).then(|| ObjectName::one(*to));
        object
    });
    Scope::Only(chosen.collect())
}

#[tokio::test]
async fn tables_come_into_a_new_file_with_all_that_hangs_on_them() {
    let scene = Scene::new("").await;
    scene
        .bring(&[("customer", "customer"), ("log", "log"), ("key", "key")])
        .await;
    let list = "SELECT group_concat(type || ' ' || name, ',' ORDER BY name) FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%'";
    assert_eq!(
        scene.ask(list),
        "index by_name,table customer,table key,table log,trigger logged"
    );
    assert_eq!(
        scene.ask("SELECT group_concat(id || name || big) FROM customer"),
        "1annANN,2bobBOB"
    );
    assert_eq!(
        scene.ask("SELECT seq || '' FROM sqlite_sequence WHERE name = 'customer'"),
        "3"
    );
    assert_eq!(
        scene.ask("SELECT group_concat(rowid || what) FROM log"),
        "1a,3c"
    );
    assert_eq!(
        scene.ask("SELECT user_version || '' FROM pragma_user_version"),
        "7"
    );
}

const LIVE: &str = "
    PRAGMA foreign_keys = OFF;
    CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT, more);
    INSERT INTO customer VALUES(1, 'old', 'x');
    CREATE INDEX by_name ON customer(more);
    CREATE TRIGGER logged AFTER DELETE ON customer BEGIN SELECT 1; END;
    CREATE TABLE bill(id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customer(id));
    INSERT INTO bill VALUES(1, 1), (2, 77);
    CREATE VIEW names AS SELECT name FROM customer;";

#[tokio::test]
async fn a_table_of_the_same_name_is_kept_whole_and_what_names_it_means_the_new_one() {
    let scene = Scene::new(LIVE).await;
    scene.bring(&[("customer", "customer")]).await;
    assert_eq!(scene.ask("SELECT group_concat(name) FROM names"), "ann,bob");
    let kept =
        scene.ask("SELECT name FROM sqlite_schema WHERE name LIKE 'customer.before-restore-%'");
    assert_eq!(
        scene.ask(&format!("SELECT name || more FROM \"{kept}\"")),
        "oldx"
    );
    let hanging = format!(
        "SELECT count(*) || '' FROM sqlite_schema WHERE tbl_name = '{kept}' AND type <> 'table'"
    );
    assert_eq!(scene.ask(&hanging), "2");
    let parent = "SELECT \"table\" FROM pragma_foreign_key_list('bill')";
    assert_eq!(scene.ask(parent), "customer");
    let warnings = scene.progress.warnings();
    assert!(
        warnings
            .iter()
            .any(|w| w == "1 rows of bill refer to rows of customer that are not there."),
        "{warnings:?}"
    );
    let database = rusqlite::Connection::open(scene.live()).unwrap();
    database
        .execute_batch("CREATE TABLE log(what); INSERT INTO customer(name) VALUES('new')")
        .unwrap();
    assert_eq!(
        scene.ask("SELECT what FROM log"),
        "new",
        "the restored trigger"
    );
}

#[tokio::test]
async fn a_copy_replaces_nothing_and_comes_under_another_name() {
    let scene = Scene::new(LIVE).await;
    let refused = scene
        .restore(only(&[("customer", "customer")]), true)
        .await
        .unwrap();
    assert_eq!(refused, ["target-exists"]);
    let done = scene.restore(only(&[("customer", "people")]), true).await;
    assert_eq!(done.unwrap_or_else(|f| panic!("{}", f.sentence())), [""; 0]);
    assert_eq!(
        scene.ask("SELECT group_concat(name) FROM people"),
        "ann,bob"
    );
    assert_eq!(scene.ask("SELECT name FROM customer"), "old");
    assert_eq!(
        scene.ask("SELECT tbl_name FROM sqlite_schema WHERE name = 'by_name_people'"),
        "people"
    );
    assert_eq!(integrity(&scene.live()), ["ok"]);
}

#[tokio::test]
async fn two_tables_may_change_their_names_with_each_other() {
    let scene = Scene::new("CREATE TABLE mine(x)").await;
    scene
        .bring(&[("customer", "log"), ("log", "customer")])
        .await;
    assert_eq!(scene.ask("SELECT group_concat(what) FROM customer"), "a,c");
    assert_eq!(scene.ask("SELECT group_concat(name) FROM log"), "ann,bob");
}

#[tokio::test]
async fn what_cannot_stand_alone_is_refused_and_nothing_changes() {
    let scene = Scene::new(LIVE).await;
    for (table, code) in [
        ("note", "sqlite-not-alone"),
        ("note_data", "sqlite-not-alone"),
    ] {
        let error = scene
            .restore(only(&[(table, table)]), false)
            .await
            .unwrap_err();
        assert_eq!(error.code(), code, "{}", error.sentence());
    }
    let missing = scene
        .restore(only(&[("nothing", "nothing")]), false)
        .await
        .unwrap();
    assert_eq!(missing, ["no-such-object"]);
    let view = ChosenObject::new(ObjectName::one("names"), ObjectType::View);
    let error = scene
        .restore(Scope::Only(vec![view]), false)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "sqlite-not-alone");
    // A view of the target that reads a column which the restored table does not have.
    let database = rusqlite::Connection::open(scene.live()).unwrap();
    database
        .execute_batch("CREATE VIEW mores AS SELECT more FROM customer")
        .unwrap();
    drop(database);
    let error = scene
        .restore(only(&[("customer", "customer")]), false)
        .await
        .unwrap_err();
    assert!(error.sentence().contains("mores"), "{}", error.sentence());
    assert_eq!(scene.ask("SELECT name FROM customer"), "old");
    assert_eq!(names(scene.directory.path()), ["live.db"]);
}

#[tokio::test]
async fn a_database_that_is_locked_is_named_and_left_as_it_is() {
    let scene = Scene::new(LIVE).await;
    let busy = rusqlite::Connection::open(scene.live()).unwrap();
    busy.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = scene
        .restore(only(&[("customer", "customer")]), false)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "sqlite-locked");
    assert!(error.sentence().contains("live.db"));
    busy.execute_batch("ROLLBACK").unwrap();
    assert_eq!(scene.ask("SELECT name FROM customer"), "old");
}

#[tokio::test]
async fn objects_are_left_out_of_a_whole_file_without_a_trace_of_their_rows() {
    let scene = Scene::new("").await;
    let out = |name: &str, kind| ExcludedObject::new(ObjectName::one(name), kind);
    let exclude = vec![
        out("log", ObjectType::Table),
        out("note", ObjectType::Table),
        out("by_name", ObjectType::Index),
        out("nothing", ObjectType::Table),
    ];
    let done = scene.restore(Scope::Whole { exclude }, false).await;
    assert_eq!(done.unwrap_or_else(|f| panic!("{}", f.sentence())), [""; 0]);
    let list = "SELECT group_concat(name, ',' ORDER BY name) FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%'";
    assert_eq!(scene.ask(list), "bill,customer,key,logged,names,others");
    let bytes = std::fs::read(scene.live()).unwrap();
    assert!(!bytes.windows(10).any(|w| w == b"some words"));
    let warnings = scene.progress.warnings();
    assert!(
        warnings.iter().any(|w| w.contains("TABLE nothing")),
        "{warnings:?}"
    );
    assert!(
        warnings.iter().any(|w| w.contains("others")),
        "{warnings:?}"
    );
    assert_eq!(integrity(&scene.live()), ["ok"]);
}

#[tokio::test]
async fn offline_writers_wait_until_the_last_page_is_read_and_readers_do_not() {
    for mode in ["WAL", "DELETE"] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("shop.db");
        make(
            &file,
            &format!("PRAGMA journal_mode = {mode}; CREATE TABLE t(x); INSERT INTO t VALUES('1')"),
        );
        let progress = Arc::new(RecordedProgress::new());
        let mut request = crate::hand::source_request("shop.db", &progress);
        request.online = false;
        let engine = SqliteEngine::new();
        let source = engine
            .open_source(&site(directory.path()), request.clone())
            .await
            .unwrap();
        let other = rusqlite::Connection::open(&file).unwrap();
        other
            .busy_timeout(std::time::Duration::from_millis(50))
            .unwrap();
        assert!(
            other.execute_batch("INSERT INTO t VALUES('2')").is_err(),
            "{mode}"
        );
        assert_eq!(ask(&file, "SELECT group_concat(x) FROM t"), "1");
        crate::hand::read_all(source, Arc::new(|| {}))
            .await
            .unwrap_or_else(|f| panic!("{}", f.sentence()));
        other.execute_batch("INSERT INTO t VALUES('2')").unwrap();
        // A run that is dropped lets them go on too.
        drop(
            engine
                .open_source(&site(directory.path()), request)
                .await
                .unwrap(),
        );
        other.execute_batch("INSERT INTO t VALUES('3')").unwrap();
    }
}
