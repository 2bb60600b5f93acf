//! Every supported server, as the least-rights role.

use rstest::rstest;
use testkit::postgres::{Server, VERSIONS};

use crate::changed::saved::summarizing;
use crate::reading::{Reading, connection, engine, psql_copy};
use model::{Engine, FindingLevel, RowFormat};

#[rstest]
#[case(14)]
#[case(15)]
#[case(16)]
#[case(17)]
#[case(18)]
#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_checked_and_read_as_the_least_rights_role(#[case] version: u32) {
    assert!(VERSIONS.contains(&version));
    let server = match version {
        ..17 => Server::version(version).start(),
        _ => summarizing(version).start(),
    };
    let roles = server.least_rights_role();
    server.psql(
        "postgres",
        "CREATE ROLE owner; CREATE DATABASE shop OWNER owner",
    );
    server.pgbench("shop", &["-i", "-s", "2", "-q"]);
    server.psql(
        "shop",
        "SELECT lo_from_bytea(0, 'large'); CREATE SEQUENCE s; CREATE TABLE h (k text) PARTITION BY HASH (k);
         CREATE TABLE h0 PARTITION OF h FOR VALUES WITH (MODULUS 1, REMAINDER 0); INSERT INTO h VALUES ('a');
         CREATE TABLE m (r int4multirange); INSERT INTO m VALUES ('{[1,3),[5,9)}');
         ALTER TABLE h0 ENABLE ROW LEVEL SECURITY; REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC;
         ANALYZE;",
    );
    let report = engine(&server)
        .check(&connection(&server, roles.backup), 2)
        .await
        .unwrap();
    let bad = report.findings.iter().find(|f| f.level != FindingLevel::Ok);
    assert_eq!(bad, None);
    let reading = Reading::new(&server, "shop");
    let backup = reading.read().await.unwrap();
    assert_eq!(reading.progress.warnings(), Vec::<String>::new());
    assert_eq!(reading.progress.notes(), Vec::<String>::new());
    let expected = psql_copy(
        &server,
        "shop",
        "SELECT aid, bid, abalance, filler FROM public.pgbench_accounts",
        RowFormat::Binary,
    );
    assert!(backup.rows_of("public.pgbench_accounts") == expected);
    assert_eq!(backup.count_of("public.pgbench_accounts"), 200_000);
    assert_eq!(backup.count_of("public.m"), 1);
    assert_eq!(backup.facts_of("public.h0")["load_through"]["name"], "h");
    for part in [
        "schema.dump",
        "globals.sql",
        "database.json",
        "large_objects.jsonl",
        "sequences.jsonl",
    ] {
        assert!(!backup.parts[part].is_empty(), "{part}");
    }
    let database: serde_json::Value =
        serde_json::from_slice(&backup.parts["database.json"]).unwrap();
    assert_eq!(database["dump_holds_statistics"], version >= 18);
    assert_eq!(database["owner"], "owner");
}

/// A query named `…_16.sql` is for servers of 16 and newer, unless a newer file takes its place.
fn is_for(file: &str, version: u32) -> bool {
    let since = |name: &str| {
        name.rsplit_once('_')?
            .1
            .strip_suffix(".sql")?
            .parse::<u32>()
            .ok()
    };
    since(file).is_some_and(|since| since <= version)
}

/// Whether the same question has a newer file that is for this version too.
fn is_superseded(path: &std::path::Path, version: u32) -> bool {
    let name = path.file_name().unwrap().to_string_lossy();
    let (question, since) = name.rsplit_once('_').unwrap();
    let since: u32 = since.strip_suffix(".sql").unwrap().parse().unwrap();
    (since + 1..=version).any(|newer| {
        path.with_file_name(format!("{question}_{newer}.sql"))
            .exists()
    })
}

#[rstest]
#[case(14)]
#[case(15)]
#[case(16)]
#[case(17)]
#[case(18)]
#[tokio::test(flavor = "multi_thread")]
async fn every_query_can_be_prepared_on_every_version_that_it_is_for(#[case] version: u32) {
    let server = Server::version(version).start();
    let roles = server.least_rights_role();
    let client = server.connect_as("postgres", roles.backup).await;
    client.batch_execute("SET search_path = ''").await.unwrap();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
    let mut prepared = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let sql = std::fs::read_to_string(&path).unwrap();
        assert!(
            sql.is_ascii(),
            "{name}: a database in another encoding must understand it"
        );
        if name == "session.sql" || !is_for(&name, version) || is_superseded(&path, version) {
            continue;
        }
        let answer = client.prepare(&sql).await;
        assert!(answer.is_ok(), "{name}: {:?}", answer.err());
        prepared += 1;
    }
    assert!(prepared > 20, "{prepared}");
}
