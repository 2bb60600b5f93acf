use super::*;
use crate::postgres::Server;

async fn digest_of(server: &Server, database: &str) -> Digest {
    digest(&server.connect(database).await).await.unwrap()
}

#[tokio::test]
async fn equal_rows_are_equal_in_another_order_of_rows_and_columns() {
    let server = Server::version(15).start();
    server.psql("postgres", "CREATE DATABASE a; CREATE DATABASE b");
    server.psql(
        "a",
        "CREATE TABLE t (n int, word text, at timestamptz);
         INSERT INTO t SELECT n, 'w' || n, '2026-01-01'::timestamptz + n * interval '1h'
         FROM generate_series(1, 100) n;
         CREATE TABLE empty ();",
    );
    server.psql(
        "b",
        "ALTER DATABASE b SET timezone = 'Asia/Tokyo';
         CREATE TABLE t (gone int, at timestamptz, word text, n int);
         ALTER TABLE t DROP COLUMN gone;
         INSERT INTO t SELECT '2026-01-01Z'::timestamptz + n * interval '1h', 'w' || n, n
         FROM generate_series(100, 1, -1) n;
         CREATE TABLE empty ();",
    );
    assert_equal(
        &digest_of(&server, "a").await,
        &digest_of(&server, "b").await,
    );
}

#[tokio::test]
async fn each_kind_of_difference_is_seen() {
    let server = Server::version(17).start();
    server.psql(
        "postgres",
        "CREATE TABLE t (n int); INSERT INTO t VALUES (1), (1), (2), (2);
         CREATE SEQUENCE s;
         CREATE TABLE p (n int) PARTITION BY RANGE (n);
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
         INSERT INTO p VALUES (5);
         CREATE TABLE parent (n int); CREATE TABLE child () INHERITS (parent);
         INSERT INTO child VALUES (1);
         CREATE MATERIALIZED VIEW v AS SELECT count(*) FROM t;
         SELECT lo_from_bytea(4711, 'abc');",
    );
    let before = digest_of(&server, "postgres").await;
    assert_eq!(before["table public.parent"], "0 rows, hash 0");
    assert!(before["table public.p1"].starts_with("1 rows"));
    assert_equal(&before, &digest_of(&server, "postgres").await);
    for (change, what) in [
        (
            "UPDATE t SET n = 3 - n WHERE ctid IN ('(0,1)', '(0,2)')",
            "table public.t",
        ),
        ("SELECT nextval('s')", "sequence public.s"),
        ("UPDATE p SET n = 6", "table public.p1"),
        ("UPDATE child SET n = 2", "table public.child"),
        (
            "INSERT INTO t VALUES (9); REFRESH MATERIALIZED VIEW v",
            "table public.v",
        ),
        ("SELECT lo_put(4711, 1, 'X')", "large object 4711"),
        ("SELECT lo_unlink(4711)", "large object 4711"),
        ("DROP TABLE parent CASCADE", "table public.parent"),
    ] {
        let before = digest_of(&server, "postgres").await;
        server.psql("postgres", change);
        let after = digest_of(&server, "postgres").await;
        let lines = differences(&before, &after).join("\n");
        assert!(lines.contains(what), "{change}: {lines}");
    }
}

#[tokio::test]
async fn a_snapshot_is_digested_as_it_was() {
    let server = Server::version(17).start();
    server.psql(
        "postgres",
        "CREATE TABLE t AS SELECT generate_series(1, 10) AS n",
    );
    let mut client = server.connect("postgres").await;
    let transaction = client
        .build_transaction()
        .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await
        .unwrap();
    let before = digest(&transaction).await.unwrap();
    server.psql("postgres", "DELETE FROM t WHERE n < 5");
    assert_equal(&before, &digest(&transaction).await.unwrap());
    let now = digest_of(&server, "postgres").await;
    assert_eq!(differences(&before, &now).len(), 1);
}

#[test]
fn sqlite_files_are_compared_by_their_rows() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str, rows: &str| {
        let file = folder.path().join(name);
        let database = rusqlite::Connection::open(&file).unwrap();
        database
            .execute_batch(&format!("CREATE TABLE \"a \"\"t\" (n, word); {rows}"))
            .unwrap();
        sqlite_digest(&file).unwrap()
    };
    let insert = "INSERT INTO \"a \"\"t\" VALUES";
    let one = make("1", &format!("{insert} (1, 'x'), (2, NULL), (2, NULL);"));
    let same = make("2", &format!("{insert} (2, NULL), (1, 'x'), (2, NULL);"));
    let other = make("3", &format!("{insert} (1, 'x'), (1, 'x'), (2, NULL);"));
    let typed = make("4", &format!("{insert} ('1', 'x'), (2, NULL), (2, NULL);"));
    assert_equal(&one, &same);
    assert_eq!(differences(&one, &other).len(), 1);
    assert_eq!(differences(&one, &typed).len(), 1);
}
