//! A standby as the source of a backup.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use model::RowFormat;
use testkit::postgres::Server;

use crate::reading::{Reading, psql_copy};

/// A standby of that server, streaming from it.
pub fn standby_of(primary: &Server) -> Server {
    let standby = Server::version(primary.major()).start();
    standby.stop();
    let data = standby.data_dir();
    let owner = std::fs::metadata(&data).unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    let made = primary
        .tool("pg_basebackup", "postgres")
        .args(["--checkpoint=fast", "--write-recovery-conf", "--pgdata"])
        .arg(&data)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "pg_basebackup: {said}");
    let owned = Command::new("chown")
        .arg("-R")
        .arg(format!("{}:{}", owner.uid(), owner.gid()))
        .arg(&data)
        .status()
        .unwrap();
    assert!(owned.success());
    standby.set(
        "unix_socket_directories",
        &standby.socket_dir().display().to_string(),
    );
    standby.restart();
    standby
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_gives_the_same_rows_and_says_what_it_has_none_of() {
    let primary = Server::version(17).start();
    primary.least_rights_role();
    primary.psql("postgres", "CREATE DATABASE shop");
    primary.psql(
        "shop",
        "CREATE TABLE t AS SELECT i, repeat('x', 100) AS x FROM generate_series(1, 50000) i;
         CREATE UNLOGGED TABLE fleeting AS SELECT 1 AS a; CREATE SEQUENCE s; SELECT nextval('s');
         SELECT lo_from_bytea(0, 'large');",
    );
    let standby = standby_of(&primary);
    assert_eq!(standby.psql("shop", "SELECT pg_is_in_recovery()"), "t");
    let reading = Reading::new(&standby, "shop");
    let backup = reading.read().await.unwrap();
    let expected = psql_copy(
        &primary,
        "shop",
        "SELECT i, x FROM public.t",
        RowFormat::Binary,
    );
    assert!(backup.rows_of("public.t") == expected);
    assert_eq!(backup.count_of("pg_catalog.pg_largeobject"), 1);
    assert_eq!(backup.lines("sequences.jsonl").len(), 1);
    assert_eq!(backup.facts.0["standby"], true);
    let skipped = reading.progress.skipped_objects();
    assert_eq!(skipped.len(), 1, "{skipped:?}");
    assert_eq!(skipped[0].object, "public.fleeting");
}
