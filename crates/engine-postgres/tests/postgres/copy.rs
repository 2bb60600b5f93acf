//! The bulk reader gives the bytes that psql gives.

use std::time::{Duration, Instant};

use model::{FRAME_BYTES, Outcome, PieceSink, RowFormat, SEGMENT_BYTES};
use testkit::postgres::Server;

use crate::reading::{Reading, begin, psql_copy, read_segment};

/// Tables of every kind that matters to COPY, several segments each where they are large.
const TABLES: &str = "
CREATE TABLE narrow AS SELECT i, i % 7 AS b, 'row ' || i AS t FROM generate_series(1, 300000) i;
CREATE TABLE wide (id int, padding text, bytes bytea);
ALTER TABLE wide ALTER padding SET STORAGE EXTERNAL, ALTER bytes SET STORAGE EXTERNAL;
INSERT INTO wide SELECT i, repeat(chr(65 + i), 100000 * i), decode(repeat('00ff', 700000), 'hex')
  FROM generate_series(1, 12) i;
CREATE TABLE nulls AS SELECT nullif(i % 3, 0) AS a, NULL::text AS b, ''::text AS c
  FROM generate_series(1, 1000) i;
CREATE TABLE no_columns ();
INSERT INTO no_columns SELECT FROM generate_series(1, 25);
CREATE TABLE dropped (a int, b text, c int GENERATED ALWAYS AS (a * 2) STORED, d date);
INSERT INTO dropped (a, b, d) SELECT i, 'x' || i, '2026-01-01'::date + i FROM generate_series(1, 500) i;
ALTER TABLE dropped DROP COLUMN b;
ALTER TABLE dropped ADD COLUMN e timestamptz DEFAULT '2026-01-01 12:00+00';
CREATE TABLE texts (r regclass, m money, j jsonb, x xml);
INSERT INTO texts VALUES ('pg_class', 12.5, '{\"a\": \"tab\\tline\\nback\\\\slash\"}', '<a/>');
CREATE TABLE holes AS SELECT i, repeat('x', 500) AS t FROM generate_series(1, 5000) i;
DELETE FROM holes WHERE i % 100 <> 0 OR i < 2000;
CREATE TABLE empty_one (a int);
";

#[tokio::test(flavor = "multi_thread")]
async fn every_table_is_read_as_psql_copies_it() {
    let server = Server::version(17).start();
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql("shop", TABLES);
    let backup = Reading::new(&server, "shop").read().await.unwrap();
    for (table, columns, format) in [
        ("narrow", "i, b, t", RowFormat::Binary),
        ("wide", "id, padding, bytes", RowFormat::Binary),
        ("nulls", "a, b, c", RowFormat::Binary),
        ("no_columns", "", RowFormat::Binary),
        ("dropped", "a, d, e", RowFormat::Binary),
        ("texts", "r, m, j, x", RowFormat::Text),
        ("holes", "i, t", RowFormat::Binary),
    ] {
        let name = format!("public.{table}");
        let plan = &backup.plan.tables[backup.place(&name)];
        assert_eq!(plan.format, format, "{table}");
        let expected = psql_copy(
            &server,
            "shop",
            &format!("SELECT {columns} FROM public.{table}"),
            format,
        );
        assert!(backup.rows_of(&name) == expected, "{table} differs");
        let rows = server.psql("shop", &format!("SELECT count(*) FROM {table}"));
        assert_eq!(backup.count_of(&name).to_string(), rows, "{table}");
    }
    let segments = |name: &str| {
        let place = backup.place(name);
        backup
            .segments
            .iter()
            .filter(move |s| s.task.table == place)
    };
    assert_eq!(
        segments("public.empty_one").count(),
        0,
        "nothing is asked of an empty table"
    );
    assert!(
        segments("public.narrow").count() > 1,
        "a large table is cut"
    );
    let largest = segments("public.narrow").map(|s| s.rows.len() as u64).max();
    assert!(largest.unwrap() < 3 * SEGMENT_BYTES, "{largest:?}");
    let rows_of_wide = segments("public.wide").map(|s| s.rows.len()).max();
    assert!(
        rows_of_wide.unwrap() > FRAME_BYTES,
        "rows are larger than a piece"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_goes_on_after_many_segments_and_refuses_to_after_an_error() {
    let server = Server::version(17).start();
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql("shop", TABLES);
    let mut reading = Reading::new(&server, "shop");
    reading.streams = 1;
    let mut source = reading.open().await.unwrap();
    let backup = begin(source.as_mut()).await.unwrap();
    let mut reader = source.reader().await.unwrap();
    // Ends the server's side in the middle of everything.
    let tasks = backup.plan.tasks.clone();
    let end = std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            for task in tasks.iter().cycle().take(10_000) {
                if let Err(error) = read_segment(reader.as_mut(), task) {
                    return Some((error, read_segment(reader.as_mut(), task).err()));
                }
            }
            None
        });
        std::thread::sleep(Duration::from_millis(300));
        server.psql(
            "postgres",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
              WHERE application_name = 'backstay 121.1' AND query LIKE 'COPY%'",
        );
        reading.join().unwrap()
    });
    let (first, second) = end.expect("the session was ended");
    let said = first.sentence();
    assert!(said.contains("reading public."), "{said}");
    assert!(second.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_canceller_ends_a_read_at_once() {
    let server = Server::version(17).start();
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql("shop", "CREATE TABLE t AS SELECT 1 AS a");
    let mut reading = Reading::new(&server, "shop");
    reading.streams = 1;
    let mut source = reading.open().await.unwrap();
    let backup = begin(source.as_mut()).await.unwrap();
    let mut reader = source.reader().await.unwrap();
    let canceller = reader.canceller();
    let task = backup.plan.tasks[0].clone();
    // A server that stands still is as good as one that is busy.
    server.pause();
    let read = tokio::task::spawn_blocking(move || read_segment(reader.as_mut(), &task).err());
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begun = Instant::now();
    drop(canceller);
    let error = read.await.unwrap().expect("it was cancelled");
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(error.code(), "cancelled");
    server.resume();
}

/// The most memory that this process ever had, in bytes.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

/// Counts and forgets.
#[derive(Default)]
struct Counted {
    bytes: u64,
    spare: Vec<u8>,
}

impl PieceSink for Counted {
    fn buffer(&mut self) -> Outcome<Vec<u8>> {
        Ok(std::mem::take(&mut self.spare))
    }

    fn full(&mut self, mut buffer: Vec<u8>) -> Outcome<()> {
        self.bytes += buffer.len() as u64;
        buffer.clear();
        self.spare = buffer;
        Ok(())
    }
}

/// Reads the only table of a database that was made with that script: rows and bytes, or the error.
/// Whatever the size of a row, this process stays small.
async fn read_counting(server: &Server, sql: &str) -> Outcome<(u64, u64)> {
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql("shop", sql);
    let mut reading = Reading::new(server, "shop");
    reading.streams = 1;
    let mut source = reading.open().await?;
    let backup = begin(source.as_mut()).await?;
    let mut reader = source.reader().await?;
    let task = backup.plan.tasks[0].clone();
    let read = tokio::task::spawn_blocking(move || {
        let mut sink = Counted::default();
        let read = reader.read(&task, &mut sink)?;
        Ok((read.index.rows(), sink.bytes))
    });
    let counted = read.await.unwrap();
    let most = most_memory();
    assert!(most < 100_000_000, "{most}");
    counted
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_a_quarter_gigabyte_is_never_held_whole() {
    let server = Server::version(17).start();
    let made = "CREATE TABLE t AS SELECT repeat('x', 250000000) AS x; INSERT INTO t VALUES ('small'), (NULL)";
    let counted = read_counting(&server, made).await.unwrap();
    assert_eq!(counted, (3, 250_000_000 + 5 + 3 * (2 + 4)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_a_quarter_gigabyte_is_never_held_whole() {
    let server = Server::version(17).start();
    // An amount of money makes it a line of text, in which each byte takes two.
    let made = "CREATE TABLE t (m money, b bytea);
        INSERT INTO t VALUES (1, convert_to(repeat('x', 125000000), 'UTF8')), (2, NULL)";
    let counted = read_counting(&server, made).await.unwrap();
    let lines = "$1.00\t\\\\x".len() + 250_000_000 + "\n$2.00\t\\N\n".len();
    assert_eq!(counted, (2, lines as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_nearly_a_gigabyte_is_never_held_whole() {
    if !crate::scale::long_tests() {
        return;
    }
    let server = Server::version(17).start();
    let made = "CREATE TABLE t (x text, y int); ALTER TABLE t ALTER x SET STORAGE EXTERNAL;
        INSERT INTO t VALUES (repeat('x', 900000000), 1)";
    let counted = read_counting(&server, made).await.unwrap();
    assert_eq!(counted, (1, 900_000_000 + 2 + 4 + 4 + 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_postgresql_cannot_send_is_refused_with_the_reason() {
    if !crate::scale::long_tests() {
        return;
    }
    let server = Server::version(17).start();
    let made = "CREATE TABLE t (m money, b bytea); ALTER TABLE t ALTER b SET STORAGE EXTERNAL;
        INSERT INTO t VALUES (1, convert_to(repeat('x', 600000000), 'UTF8'))";
    let error = read_counting(&server, made).await.unwrap_err();
    assert_eq!(error.code(), "source-failed");
    assert!(error.to_string().contains("public.t"), "{error}");
    let hint = error.hint().unwrap_or_default();
    assert!(hint.contains("1 GB"), "{error}: {hint}");
}
