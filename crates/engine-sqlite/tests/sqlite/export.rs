//! An export: the file itself, and the same as SQL and as CSV.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use engine_sqlite::SqliteEngine;
use model::{Engine, ExportFormat, ExportPlace, Outcome};
use testkit::RecordedProgress;
use testkit::digest::{assert_equal, sqlite_digest};

use crate::hand::{Copy, back_up, fill, integrity, make, names, request};

const EVERYTHING: &str = "
    PRAGMA user_version = 7;
    CREATE TABLE plain(a, \"b \"\"q\", c TEXT);
    INSERT INTO plain VALUES(1, 'ä', 'it''s'), (2.5, x'00ff', char(10)), (NULL, '', 'a' || char(0) || 'b'), (9e999, -1e-7, 3);
    DELETE FROM plain WHERE a = 1;
    CREATE TABLE rowless(k TEXT PRIMARY KEY, v) WITHOUT ROWID;
    INSERT INTO rowless VALUES('x', 1), ('y', 2);
    CREATE TABLE strict(a INTEGER, g INTEGER AS (a * 2) STORED) STRICT;
    INSERT INTO strict(a) VALUES(7);
    CREATE TABLE counted(id INTEGER PRIMARY KEY AUTOINCREMENT, x);
    INSERT INTO counted(x) VALUES('one'), ('two'); DELETE FROM counted WHERE x = 'two';
    CREATE VIRTUAL TABLE note USING fts5(title, body);
    INSERT INTO note VALUES('first', 'a note of some words'), ('second', 'other words');
    CREATE TABLE \"../up\"(x); INSERT INTO \"../up\" VALUES(1);
    CREATE TABLE \"../UP \"(x);
    CREATE VIEW both AS SELECT a FROM plain UNION SELECT k FROM rowless;
    CREATE UNIQUE INDEX by_b ON plain(c) WHERE c <> '';
    CREATE TRIGGER copied AFTER INSERT ON plain BEGIN INSERT INTO counted(x) VALUES(new.a); END;";

async fn export(
    copy: &Copy,
    name: &str,
    format: ExportFormat,
) -> (tempfile::TempDir, PathBuf, Vec<String>) {
    let place = tempfile::tempdir().unwrap();
    let done = try_export(copy, name, format, &place).await;
    let errors = done.unwrap_or_else(|fault| panic!("{}", fault.sentence()));
    let folder = place.path().join("files");
    (place, folder, errors)
}

async fn try_export(
    copy: &Copy,
    name: &str,
    format: ExportFormat,
    place: &tempfile::TempDir,
) -> Outcome<Vec<String>> {
    let progress = Arc::new(RecordedProgress::new());
    let mut request = request(copy, "files", &progress);
    request.selection = model::DatabaseSelection::whole(model::ObjectName::one(name));
    request.saved = request.selection.clone();
    let into = ExportPlace {
        directory: place.path().to_owned(),
        format,
    };
    let mut target = SqliteEngine::new().open_export(&into, request).await?;
    fill(target.as_mut(), &copy.segments).await?;
    let mut errors = target.build(2).await?.errors;
    errors.extend(target.postscript().await?.errors);
    target.publish().await?;
    Ok(errors)
}

#[tokio::test]
async fn the_file_and_its_dump_hold_everything() {
    for encoding in ["UTF-8", "UTF-16be"] {
        let site = tempfile::tempdir().unwrap();
        let file = site.path().join("shop.db");
        make(
            &file,
            &format!("PRAGMA encoding = '{encoding}'; {EVERYTHING}"),
        );
        let copy = back_up(site.path(), "shop.db").await.unwrap();
        let (_place, folder, errors) = export(&copy, "shop.db", ExportFormat::Sql).await;
        assert_eq!(errors, [""; 0]);
        assert_eq!(names(&folder), ["dump.sql", "index.json", "shop.db"]);
        let expected = sqlite_digest(&file).unwrap();
        assert_equal(&expected, &sqlite_digest(&folder.join("shop.db")).unwrap());
        let loaded = folder.join("loaded.db");
        make(
            &loaded,
            &fs::read_to_string(folder.join("dump.sql")).unwrap(),
        );
        assert_equal(&expected, &sqlite_digest(&loaded).unwrap());
        assert_eq!(integrity(&loaded), ["ok"]);
        let same = |question: &str| {
            let ask = |path| -> String {
                let database = rusqlite::Connection::open(path).unwrap();
                database.query_row(question, [], |row| row.get(0)).unwrap()
            };
            assert_eq!(ask(&file), ask(&loaded), "{question}");
        };
        same("SELECT group_concat(rowid) FROM plain");
        same("SELECT group_concat(name || seq) FROM sqlite_sequence");
        same("SELECT group_concat(rowid) FROM note WHERE note MATCH 'words'");
        same("SELECT group_concat(hex(CAST(c AS BLOB)) || typeof(c)) FROM plain");
        same("SELECT (SELECT user_version FROM pragma_user_version) || ''");
    }
}

#[tokio::test]
async fn each_table_is_a_csv_file_of_a_name_that_stays_in_its_directory() {
    let site = tempfile::tempdir().unwrap();
    make(&site.path().join("shop.db"), EVERYTHING);
    let copy = back_up(site.path(), "shop.db").await.unwrap();
    let (_place, folder, errors) = export(&copy, "shop.db", ExportFormat::Csv).await;
    assert_eq!(errors, [""; 0]);
    let found = names(&folder.join("rows"));
    let expected = [
        "%2E.%2FUP%20.csv",
        "%2E.%2Fup.csv",
        "counted.csv",
        "note.csv",
        "plain.csv",
        "rowless.csv",
        "strict.csv",
    ];
    assert_eq!(found, expected);
    let plain = fs::read_to_string(folder.join("rows/plain.csv")).unwrap();
    assert_eq!(
        plain,
        "\"a\",\"b \"\"q\",\"c\"\r\n\"2.5\",\"X'00FF'\",\"\n\"\r\n,\"\",\"a\0b\"\r\n\"inf\",\"-0.0000001\",\"3\"\r\n"
    );
    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("index.json")).unwrap()).unwrap();
    assert_eq!(index["tables"][0]["name"], "plain");
}

#[tokio::test]
async fn a_database_of_a_hostile_name_stays_in_its_directory() {
    let site = tempfile::tempdir().unwrap();
    make(&site.path().join("a\n'\\ b"), "CREATE TABLE t(x)");
    let copy = back_up(site.path(), "a\n'\\ b").await.unwrap();
    let (_place, folder, errors) = export(&copy, "a\n'\\ b", ExportFormat::Sql).await;
    assert_eq!(errors, [""; 0]);
    assert_eq!(names(&folder), ["a%0A%27%5C%20b", "dump.sql", "index.json"]);
}

#[tokio::test]
async fn a_damaged_database_is_exported_as_far_as_it_goes_and_told() {
    let site = tempfile::tempdir().unwrap();
    let file = site.path().join("shop.db");
    make(&file, &crate::hand::rows_sql(3000));
    let mut copy = back_up(site.path(), "shop.db").await.unwrap();
    copy.segments[0].bytes[4096 * 2..4096 * 40].fill(7);
    copy.facts.0["rows"] = serde_json::json!([]);
    let (_place, folder, errors) = export(&copy, "shop.db", ExportFormat::Sql).await;
    assert!(!errors.is_empty());
    assert!(
        errors
            .iter()
            .any(|error| error.contains("dump.sql is not complete")),
        "{errors:?}"
    );
    assert_eq!(names(&folder), ["dump.sql", "index.json", "shop.db"]);
}

#[tokio::test]
async fn a_missing_segment_ends_the_export_and_discard_takes_all_away() {
    let site = tempfile::tempdir().unwrap();
    make(&site.path().join("shop.db"), &crate::hand::rows_sql(3000));
    let copy = back_up(site.path(), "shop.db").await.unwrap();
    let place = tempfile::tempdir().unwrap();
    let progress = Arc::new(RecordedProgress::new());
    let into = ExportPlace {
        directory: place.path().to_owned(),
        format: ExportFormat::Sql,
    };
    let request = request(&copy, "files", &progress);
    let mut target = SqliteEngine::new()
        .open_export(&into, request)
        .await
        .unwrap();
    fill(target.as_mut(), &[]).await.unwrap();
    assert!(target.build(1).await.is_err());
    target.discard().await.unwrap();
    assert_eq!(names(place.path()), [""; 0]);
}

#[tokio::test]
async fn chosen_tables_and_views_are_all_that_is_in_the_exported_file() {
    let site = tempfile::tempdir().unwrap();
    make(&site.path().join("shop.db"), EVERYTHING);
    let copy = back_up(site.path(), "shop.db").await.unwrap();
    let place = tempfile::tempdir().unwrap();
    let into = ExportPlace {
        directory: place.path().to_owned(),
        format: ExportFormat::Sql,
    };
    let export = async |chosen: Vec<model::ChosenObject>| {
        let progress = Arc::new(RecordedProgress::new());
        let mut request = request(&copy, "files", &progress);
        request.selection =
            model::DatabaseSelection::only(model::ObjectName::one("shop.db"), chosen);
        let mut target = SqliteEngine::new().open_export(&into, request).await?;
        fill(target.as_mut(), &copy.segments).await?;
        target.build(2).await?;
        target.postscript().await?;
        target.publish().await?;
        Outcome::Ok(())
    };
    let chosen = |name: &str, kind| model::ChosenObject::new(name.parse().unwrap(), kind);
    let wanted = vec![
        chosen("plain", model::ObjectType::Table),
        chosen("note", model::ObjectType::Table),
        chosen("both", model::ObjectType::View),
    ];
    export(wanted).await.unwrap();
    let folder = place.path().join("files");
    let database = rusqlite::Connection::open(folder.join("shop.db")).unwrap();
    let ask =
        |question: &str| -> String { database.query_row(question, [], |row| row.get(0)).unwrap() };
    let named = "SELECT group_concat(name, ' ') FROM (SELECT name FROM sqlite_schema
                  WHERE name NOT LIKE 'sqlite%' AND name NOT LIKE 'note_%' ORDER BY name)";
    assert_eq!(ask(named), "both by_b copied note plain");
    assert_eq!(
        ask("SELECT count(*) || '' FROM note WHERE note MATCH 'words'"),
        "2"
    );
    assert_eq!(ask("SELECT count(*) || '' FROM plain"), "3");
    let dump = fs::read_to_string(folder.join("dump.sql")).unwrap();
    assert!(!dump.contains("rowless("), "{dump}");
    let bytes = fs::read(folder.join("shop.db")).unwrap();
    let kept = |text: &[u8]| bytes.windows(text.len()).any(|found| found == text);
    assert!(kept(b"other words") && !kept(b"CREATE TABLE counted"));

    let index = vec![chosen("by_b", model::ObjectType::Index)];
    let refused = export(index).await.err().unwrap();
    assert!(
        refused.sentence().contains("INDEX by_b"),
        "{}",
        refused.sentence()
    );
}
