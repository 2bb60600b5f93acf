//! Names that break what quotes badly, and servers that say no.

use model::{Connection, Engine, FindingLevel, ObjectName, Parent, SecretString};
use testkit::postgres::{SUPERUSER, Server};

use crate::reading::{Reading, connection, engine, psql_copy};

const DATABASE: &str = "a \"shop\" with='all' \\ größe\n$1.";

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[tokio::test(flavor = "multi_thread")]
async fn names_may_be_as_wild_as_postgresql_allows() {
    let server = Server::version(17).start();
    server.psql("postgres", &format!("CREATE DATABASE {}", quoted(DATABASE)));
    let client = server.connect(DATABASE).await;
    let names = [
        "plain",
        "Upper.Case",
        "with \"quotes\"",
        "with space",
        "größe 表 🐘",
        "new\nline",
        "tab\there",
        "semi;colon",
        "back\\slash",
        "$dollar$",
        "'single'",
        "U&\"\\0041\"",
        "*",
    ];
    for (i, name) in names.iter().enumerate() {
        let schema = quoted(names[(i + 1) % names.len()]);
        let (table, column) = (quoted(name), quoted(names[(i + 2) % names.len()]));
        let sql = format!(
            "CREATE SCHEMA IF NOT EXISTS {schema};
             CREATE TABLE {schema}.{table} ({column} int, ctid_ text);
             INSERT INTO {schema}.{table} SELECT i, 'x' FROM generate_series(1, {}) i;
             CREATE SEQUENCE {schema}.{}; SELECT nextval('{schema}.{}')",
            i + 1,
            quoted(&format!("{name} seq")),
            quoted(&format!("{name} seq")).replace('\'', "''"),
        );
        let sql = sql.replace(
            &format!("nextval('{schema}"),
            &format!("nextval('{}", schema.replace('\'', "''")),
        );
        client
            .batch_execute(&sql)
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }
    let backup = Reading::new(&server, DATABASE).read().await.unwrap();
    for (i, name) in names.iter().enumerate() {
        let full = ObjectName::two(names[(i + 1) % names.len()], *name).to_string();
        assert_eq!(backup.count_of(&full), i as u64 + 1, "{full}");
    }
    assert_eq!(backup.lines("sequences.jsonl").len(), names.len());
    let objects = engine(&server)
        .browse(
            &connection(&server, SUPERUSER),
            &Parent::Database(ObjectName::one(DATABASE)),
        )
        .await
        .unwrap();
    let tables = objects
        .iter()
        .filter(|o| o.byte_count.is_some_and(|b| b > 0));
    assert!(tables.count() >= names.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_latin1_database_keeps_its_bytes_and_its_names() {
    let server = Server::version(16).start();
    server.psql(
        "postgres",
        "CREATE DATABASE old ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
    );
    server.psql(
        "old",
        "SET client_encoding = 'UTF8';
         CREATE TABLE \"größe\" (\"länge\" text); INSERT INTO \"größe\" VALUES ('fünf');
         CREATE TABLE other (r regclass); INSERT INTO other VALUES ('\"größe\"');",
    );
    let backup = Reading::new(&server, "old").read().await.unwrap();
    let rows = backup.rows_of("public.größe");
    assert!(rows.ends_with(b"f\xfcnf"), "{rows:?}");
    assert_eq!(backup.facts_of("public.größe")["encoding"], "LATIN1");
    assert_eq!(backup.rows_of("public.other"), b"public.\"gr\xf6\xdfe\"\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sql_ascii_database_is_read_byte_for_byte() {
    let server = Server::version(17).start();
    server.psql(
        "postgres",
        "CREATE DATABASE raw ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0",
    );
    server.psql(
        "raw",
        "CREATE TABLE t (a text); INSERT INTO t VALUES (E'\\xff\\xfe'), ('plain');
         CREATE TABLE \"größe\" (\"ü\" int); INSERT INTO \"größe\" VALUES (1);",
    );
    let backup = Reading::new(&server, "raw").read().await.unwrap();
    let expected = psql_copy(
        &server,
        "raw",
        "SELECT a FROM public.t",
        model::RowFormat::Binary,
    );
    assert!(backup.rows_of("public.t") == expected);
    assert_eq!(backup.count_of("public.größe"), 1);
    // A name that is no text at all is refused in words.
    server.psql(
        "raw",
        "DO $$ BEGIN EXECUTE E'CREATE TABLE \"\\xff\" (a int)'; END $$",
    );
    let error = Reading::new(&server, "raw").read().await.err();
    let error = error.expect("there is no such text");
    let said = error.sentence();
    assert_eq!(error.code(), "names-not-utf8");
    assert!(
        said.contains("listing the tables") && said.contains("invalid byte sequence"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_refuses_is_told_clearly_and_without_the_password() {
    let server = Server::version(17).tcp().start();
    let roles = server.least_rights_role();
    let url = server.url("postgres", roles.backup);
    let with = |url: &str, password: &str| Connection::Postgresql {
        url: url.to_owned(),
        password: Some(SecretString::from(password)),
    };
    let engine = engine(&server);
    let browse = async |connection: &Connection, parent: Parent| {
        let error = engine.browse(connection, &parent).await.err();
        let error = error.expect("it is refused");
        let said = format!("{} {:?} {:?}", error.sentence(), error.hint(), error);
        assert!(!said.contains("s3cret"), "{said}");
        (error.code(), error.sentence())
    };
    let (code, said) = browse(&with(&url, "s3cret"), Parent::Root).await;
    assert_eq!(code, "login-refused", "{said}");
    assert!(
        said.contains("backstay") && said.contains("password authentication failed"),
        "{said}"
    );

    let nowhere = url.replace(&format!(":{}/", server.port()), ":1/");
    let (code, said) = browse(&with(&nowhere, "s3cret"), Parent::Root).await;
    assert_eq!(code, "source-unreachable", "{said}");
    assert!(said.contains("127.0.0.1:1"), "{said}");

    let (code, _) = browse(
        &with(&format!("{url}?sslmode=require"), "s3cret"),
        Parent::Root,
    )
    .await;
    assert_eq!(code, "source-tls");

    let good = with(&url, roles.password);
    let missing = Parent::Database(ObjectName::one("missing"));
    assert_eq!(browse(&good, missing).await.0, "no-such-database");
    assert!(
        !engine
            .browse(&good, &Parent::Root)
            .await
            .unwrap()
            .is_empty()
    );

    let report = engine.check(&with(&url, "s3cret"), 2).await.unwrap();
    let words = format!("{report:?}");
    assert_eq!(report.findings[0].level, FindingLevel::Error);
    assert!(!words.contains("s3cret"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_without_rights_are_an_error_or_skipped_as_asked() {
    let server = Server::version(17).start();
    server.psql("postgres", "CREATE DATABASE shop; CREATE ROLE poor LOGIN");
    server.psql(
        "shop",
        "CREATE TABLE mine (a int); INSERT INTO mine VALUES (1); GRANT SELECT ON mine TO poor;
         CREATE TABLE secret (a int);
         CREATE TABLE rows_hidden (a int); GRANT SELECT ON rows_hidden TO poor;
         ALTER TABLE rows_hidden ENABLE ROW LEVEL SECURITY;",
    );
    let mut reading = Reading::new(&server, "shop");
    reading.user = "poor";
    let error = reading.open().await.err().expect("a right is missing");
    assert_eq!(error.code(), "insufficient-privilege");
    let said = error.to_string();
    assert!(
        said.contains("public.secret") && said.contains("public.rows_hidden"),
        "{said}"
    );
    for grant in [
        "GRANT SELECT ON public.secret TO \"poor\"",
        "ALTER ROLE \"poor\" BYPASSRLS",
    ] {
        assert!(said.contains(grant), "{said}");
    }
    reading.skip_without_rights = true;
    let backup = reading.read().await.unwrap();
    assert_eq!(backup.count_of("public.mine"), 1);
    assert_eq!(backup.plan.tables.len(), 1);
    let skipped = reading.progress.skipped_objects();
    assert_eq!(skipped.len(), 2, "{skipped:?}");
    server.psql("shop", "SELECT lo_create(7); CREATE SEQUENCE numbers");
    reading.read().await.unwrap();
    let skipped = reading.progress.skipped_objects();
    for object in ["large objects", "public.numbers"] {
        assert!(skipped.iter().any(|s| s.object == object), "{skipped:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_skipped_table_is_skipped_with_it() {
    let server = Server::version(17).start();
    server.psql("postgres", "CREATE DATABASE shop; CREATE ROLE poor LOGIN");
    server.psql(
        "shop",
        "CREATE TABLE mine (a int); INSERT INTO mine VALUES (1); CREATE TABLE secret (a int PRIMARY KEY);
         CREATE VIEW over_secret AS SELECT * FROM secret; CREATE VIEW over_view AS SELECT * FROM over_secret;
         CREATE TABLE heir (b int) INHERITS (secret);
         CREATE TABLE parts (a int) PARTITION BY LIST (a); CREATE TABLE part1 PARTITION OF parts FOR VALUES IN (1);
         GRANT SELECT ON mine, over_secret, over_view, heir, part1 TO poor;
         CREATE SCHEMA closed; CREATE TABLE closed.t (a int); GRANT SELECT ON closed.t TO poor;",
    );
    let mut reading = Reading::new(&server, "shop");
    reading.user = "poor";
    let said = reading.open().await.err().unwrap().to_string();
    for grant in [
        "ON SCHEMA closed TO",
        "SELECT ON public.secret TO",
        "ON public.parts TO",
    ] {
        assert!(said.contains(grant), "{said}");
    }
    reading.skip_without_rights = true;
    let backup = reading.read().await.unwrap();
    assert_eq!(backup.plan.tables.len(), 1);
    let listed = backup.plan.objects.iter().map(|o| o.name.to_string());
    let mut listed: Vec<String> = listed.collect();
    listed.sort();
    assert_eq!(listed, ["closed", "public", "public.mine", "shop"]);
    let skipped = reading.progress.skipped_objects();
    let mut skipped: Vec<&str> = skipped.iter().map(|s| s.object.as_str()).collect();
    skipped.sort();
    let expected = [
        "closed.t",
        "public.heir",
        "public.over_secret",
        "public.over_view",
        "public.part1",
        "public.parts",
        "public.secret",
    ];
    assert_eq!(skipped, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_says_what_is_missing_and_the_sql_that_helps() {
    let server = Server::version(17).start();
    let roles = server.least_rights_role();
    server.psql("postgres", "CREATE ROLE poor LOGIN; CREATE TABLE t (a int)");
    let engine = engine(&server);
    let good = engine
        .check(&connection(&server, roles.backup), 2)
        .await
        .unwrap();
    let bad: Vec<_> = good
        .findings
        .iter()
        .filter(|f| f.level != FindingLevel::Ok)
        .collect();
    // The settings that a server comes with: WAL is not summarized.
    let [finding] = bad[..] else {
        panic!("{bad:?}");
    };
    assert_eq!(
        (finding.what.as_str(), finding.level),
        ("changed blocks", FindingLevel::Warning)
    );
    assert!(
        finding
            .remedy
            .as_ref()
            .unwrap()
            .contains("summarize_wal = on")
    );
    assert!(good.version.unwrap().starts_with("PostgreSQL 17"));

    let poor = engine.check(&connection(&server, "poor"), 2).await.unwrap();
    let said = format!("{poor:?}");
    assert!(said.contains("GRANT pg_read_all_data"), "{said}");
    let of = |what: &str| {
        poor.findings
            .iter()
            .filter(|f| f.what == what)
            .map(|f| f.level)
            .max()
    };
    assert_eq!(of("tables"), Some(FindingLevel::Error), "{said}");

    let crowd = engine
        .check(&connection(&server, roles.backup), 1000)
        .await
        .unwrap();
    let remedy = crowd
        .findings
        .iter()
        .find(|f| f.what == "connections")
        .unwrap();
    assert_eq!(remedy.level, FindingLevel::Error);
    assert!(remedy.remedy.as_ref().unwrap().contains("max_connections"));
}
