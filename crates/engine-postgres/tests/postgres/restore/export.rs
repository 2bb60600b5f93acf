//! An export is loaded by psql alone, and everything is there again; its CSV is PostgreSQL's own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{
    ChosenObject, DatabaseSelection, Engine, ExcludedObject, ExportFormat, ExportPlace, ObjectName,
    ObjectType, Outcome, Scope, StepReport, Target,
};
use testkit::RecordedProgress;
use testkit::digest::assert_equal;
use testkit::postgres::Server;

use super::drive::{engine, load};
use super::round_trip::{about_database, rows_of, server_with_shop, similar};
use super::saved::Saved;

/// An exported database, gone with this value.
struct Exported {
    folder: PathBuf,
    progress: Arc<RecordedProgress>,
    _place: tempfile::TempDir,
}

async fn export(tools: &Server, saved: &Saved, format: ExportFormat) -> Outcome<Exported> {
    let whole = DatabaseSelection::whole(ObjectName::one("shop"));
    export_part(tools, saved, format, whole).await
}

async fn export_part(
    tools: &Server,
    saved: &Saved,
    format: ExportFormat,
    selection: DatabaseSelection,
) -> Outcome<Exported> {
    let place = tempfile::tempdir().unwrap();
    let progress = Arc::new(RecordedProgress::new());
    let mut request = saved.request("files", Arc::clone(&progress) as _);
    request.selection = selection;
    let into = ExportPlace {
        directory: place.path().to_owned(),
        format,
    };
    let mut target = engine(tools).open_export(&into, request).await?;
    match steps(&mut *target, saved).await {
        Ok(report) => assert_eq!(report, StepReport::default()),
        Err(error) => {
            target.discard().await?;
            let left = fs::read_dir(place.path()).unwrap().count();
            assert_eq!(left, 0, "discard takes everything away");
            return Err(error);
        }
    }
    target.publish().await?;
    Ok(Exported {
        folder: place.path().join("files"),
        progress,
        _place: place,
    })
}

async fn steps(target: &mut dyn Target, saved: &Saved) -> Outcome<StepReport> {
    assert!(target.findings().await?.obstacles.is_empty());
    target.prepare().await?;
    load(target, saved).await?;
    target.build(2).await?;
    target.postscript().await
}

/// Runs a script in its directory; answers what psql said about errors.
fn psql(server: &Server, database: &str, folder: &Path, script: &str) -> Result<(), String> {
    let output = server
        .tool("psql", database)
        .current_dir(folder)
        .args(["-X", "-v", "VERBOSITY=terse", "-f", script])
        .output()
        .unwrap();
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// Loads it into a server that has never seen anything of it.
fn load_into_new(version: u32, exported: &Exported) -> Server {
    let server = Server::version(version).start();
    psql(&server, "postgres", &exported.folder, "globals.sql").unwrap();
    psql(&server, "postgres", &exported.folder, "create.sql").unwrap();
    server
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        }
        found.push(path);
    }
    found
}

async fn a_loaded_export(version: u32, format: ExportFormat) {
    let source = server_with_shop(version);
    let before = rows_of(&source, "shop").await;
    let saved = Saved::by_source(&source, "shop").await;
    let exported = export(&source, &saved, format).await.unwrap();
    assert_eq!(exported.progress.warnings(), Vec::<String>::new());
    let target = load_into_new(version, &exported);
    assert_equal(&before, &rows_of(&target, "shop").await);
    // Roles of a policy are listed by their OIDs, which follow the order of globals.sql now.
    let found = target
        .dump_schema("shop")
        .replace("TO clerk, reader", "TO reader, clerk");
    similar(&source.dump_schema("shop"), &found);
    assert_eq!(
        about_database(&source, "shop"),
        about_database(&target, "shop")
    );
    for path in files_below(&exported.folder) {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let wanted = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, wanted, "{}", path.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_loaded_again_by_psql_on_14() {
    a_loaded_export(14, ExportFormat::Sql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_loaded_again_by_psql_on_18() {
    a_loaded_export(18, ExportFormat::Sql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_files_hold_everything_too() {
    a_loaded_export(16, ExportFormat::Csv).await;
}

/// One column for each built-in type that is saved in its binary form.
const VALUES: &str = r#"
CREATE TABLE v (
    bool bool, int2 int2, int4 int4, int8 int8, float4 float4, float8 float8, numeric numeric, oid oid,
    xid8 xid8, text text, varchar varchar(9), bpchar char(5), "char" "char", name name, bytea bytea,
    bit bit(11), varbit varbit, date date, time time, timetz timetz, timestamp timestamp,
    timestamptz timestamptz, interval interval, uuid uuid, json json, jsonb jsonb, inet inet, cidr cidr,
    macaddr macaddr, macaddr8 macaddr8, point point, lseg lseg, path path, box box, polygon polygon,
    line line, circle circle, pg_lsn pg_lsn, texts text[], numbers numeric[], boxes box[],
    int4range int4range, tsrange tsrange, nummultirange nummultirange, ranges daterange[], v2 int2vector);
INSERT INTO v (bool) VALUES (NULL);
INSERT INTO v VALUES (true, -1, 2147483647, -9223372036854775808, 1e6, 1e15, 12345678.000100, 4294967295,
    '18446744073709551615', 'a"b', '', 'ab', 'x', 'n', '\x00ff', '10110001101', '1', '2024-02-29', '24:00:00',
    '12:34:56.789+05:30', '2024-01-01 00:00:00.1', '1999-12-31 23:59:59.999999+00', '1 year -2 days 03:04:05.6',
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a" : 1}', '{"a":[1,null]}', '10.1.2.3/8', '10.0.0.0/8',
    '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', '(1.5,-2e-7)', '[(0,0),(1,1)]', '[(0,0),(1,2)]', '(3,4),(1,2)',
    '((0,0),(1,1),(2,0))', '{1,2,3}', '<(1,2),3>', '16/B374D848', '{a,NULL,"NULL","",a b,"q\"\\"}', '[0:1][2:3]={{1,2},{3,4.50}}',
    '{(1,1),(0,0);(2,2),(1,1)}', '[1,5)', '["2024-01-01 00:00","2024-01-02 12:30"]', '{[1.5,2),(7,)}',
    '{"[2024-01-01,2024-02-01)",empty}', '1 2 3');
INSERT INTO v VALUES (false, 0, 0, 0, 'NaN', '-Infinity', 'NaN', 0, '0', E'line\nfeed', 'é', '', '', '', '',
    '00000000000', '', 'infinity', '00:00:00', '00:00:00-15:59:59', '-infinity', '0044-03-15 12:00:00+00 BC', '-1 mons +1 day -00:00:00.000001',
    '00000000-0000-0000-0000-000000000000', 'null', '"\u00e9"', '::1', '2001:db8::/32', 'ff:ff:ff:ff:ff:ff', '00:00:00:00:00:00:00:00',
    '(NaN,Infinity)', '[(1,2),(3,4)]', '((1,2),(3,4),(5,6))', '(1,1),(1,1)', '((1,1))', '{0,-1,0.1}', '<(0,0),0>', '0/0',
    '{}', '{}', '{}', 'empty', '(,)', '{}', '{}', '');
INSERT INTO v (float4, float8, numeric, interval, inet, date, timestamp, int4range) VALUES
    (1.17549435e-38, 0.0001, -0.00000000000000000001, '0', '::ffff:1.2.3.4', '0001-01-01 BC', '294276-12-31 23:59:59', '(,7)'),
    (999999, 1234567890123456, 1e40, '-3 years', '::1.2.3.4', '5874897-12-31', '4713-01-01 00:00:00 BC', '[3,)'),
    (0.1, 5e-324, 10000, '100:00:00', '1:0:0:2::', '1582-10-15', '2000-01-01', '[1,1]'),
    (123456.7, 100000000000000, 0.0000, '-5 days', '192.168.1.1/24', '2000-01-01', '1970-01-01 00:00:01', '(1,4)'),
    (-0.0, 0.3, 99990000.99990000, '1 day -1 sec', 'fe80::1:0:0:1/64', '1999-12-31', '2024-06-30 23:59:59.5', NULL);
"#;

#[tokio::test(flavor = "multi_thread")]
async fn csv_is_word_for_word_what_postgresql_writes() {
    for version in [14, 18] {
        let server = Server::version(version).start();
        server.psql("postgres", "CREATE DATABASE shop");
        server.psql("shop", VALUES);
        let settings = "SET TimeZone = 'UTC'; SET extra_float_digits = 3;";
        let copy = format!("{settings} COPY v TO STDOUT (FORMAT csv, HEADER, FORCE_QUOTE *)");
        let expected = server.psql("shop", &copy);
        let saved = Saved::by_source(&server, "shop").await;
        assert_eq!(saved.tables[0].plan.format, model::RowFormat::Binary);
        let exported = export(&server, &saved, ExportFormat::Csv).await.unwrap();
        let found = fs::read_to_string(exported.folder.join("rows/public.v.csv")).unwrap();
        let (_header, rows) = expected.split_once('\n').unwrap();
        let (_ours, found) = found.split_once("\r\n").unwrap();
        let found = found.replace("\r\n", "\n");
        for (expected, found) in rows.lines().zip(found.lines()) {
            for (expected, found) in expected.split("\",\"").zip(found.split("\",\"")) {
                assert_eq!(expected, found, "on {version}");
            }
        }
        assert_eq!(rows.trim_end(), found.trim_end());
    }
}

/// Names that would break out of comments, commands of psql and directories.
const HOSTILE: &str = r#"
CREATE SCHEMA "../up";
CREATE SCHEMA "line
feed";
CREATE TABLE "../up"."a/b\c:'%" ("""" int, "col
\! touch owned
" text);
INSERT INTO "../up"."a/b\c:'%" SELECT i, 'row ' || i FROM generate_series(1, 10) i;
CREATE TABLE "line
feed"."\! touch owned
" ("-- x
y" int GENERATED ALWAYS AS IDENTITY, t text);
INSERT INTO "line
feed"."\! touch owned
" (t) SELECT 'row ' || i FROM generate_series(1, 10) i;
CREATE TABLE public."Same" (i int); CREATE TABLE public."same" (i int);
INSERT INTO public."Same" VALUES (1); INSERT INTO public."same" VALUES (2);
CREATE TABLE public.none (); INSERT INTO public.none DEFAULT VALUES; INSERT INTO public.none DEFAULT VALUES;
"#;

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_are_loaded_and_never_run() {
    let server = Server::version(17).start();
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql("shop", HOSTILE);
    let before = rows_of_all(&server).await;
    let saved = Saved::by_source(&server, "shop").await;
    for format in [ExportFormat::Sql, ExportFormat::Csv] {
        let exported = export(&server, &saved, format).await.unwrap();
        let other = load_into_new(17, &exported);
        assert_equal(&before, &rows_of_all(&other).await);
        let files = files_below(&exported.folder);
        assert!(!files.iter().any(|path| path.ends_with("owned")));
        assert!(files.iter().all(|path| path.starts_with(&exported.folder)));
    }
}

async fn rows_of_all(server: &Server) -> testkit::digest::Digest {
    let client = server.connect("shop").await;
    testkit::digest::digest(&client).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoding_that_is_not_utf8_is_kept_in_names_and_rows() {
    let server = Server::version(16).start();
    let latin =
        "CREATE DATABASE shop TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'";
    server.psql("postgres", latin);
    server.psql(
        "shop",
        "CREATE TABLE \"größe\" (\"maß\" text, n int); INSERT INTO \"größe\" VALUES ('süß', 1), (NULL, 2);
         CREATE TABLE plain (t text, r regclass); INSERT INTO plain VALUES ('ÄÖÜ', 'plain')",
    );
    let saved = Saved::by_source(&server, "shop").await;
    for format in [ExportFormat::Sql, ExportFormat::Csv] {
        let exported = export(&server, &saved, format).await.unwrap();
        let other = load_into_new(16, &exported);
        let rows =
            "SELECT string_agg(\"maß\", '' ORDER BY n) || (SELECT t FROM plain) FROM \"größe\"";
        assert_eq!(other.psql("shop", rows).trim(), "süßÄÖÜ");
        let encoding = "SHOW server_encoding";
        assert_eq!(other.psql("shop", encoding).trim(), "LATIN1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_cut_short_are_an_error_and_nothing_stays() {
    let server = Server::version(18).start();
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql(
        "shop",
        "CREATE TABLE t (i int, s text); INSERT INTO t SELECT i, 'x' FROM generate_series(1, 99) i",
    );
    let mut saved = Saved::by_source(&server, "shop").await;
    saved.ranges[0].1.pop();
    for format in [ExportFormat::Sql, ExportFormat::Csv] {
        let error = export(&server, &saved, format).await.err().unwrap();
        assert_eq!(error.code(), "export-rows");
        assert!(
            error.sentence().contains("public.t"),
            "{}",
            error.sentence()
        );
    }
}

/// Objects that hang on each other in every way that a part must follow or cut.
const TIED: &str = "
    CREATE SCHEMA sales; CREATE TYPE state AS ENUM ('new', 'paid');
    CREATE SEQUENCE numbers START 500;
    CREATE TABLE customer (id int PRIMARY KEY); INSERT INTO customer VALUES (1), (2);
    CREATE TABLE orders (id serial PRIMARY KEY, no bigint DEFAULT nextval('numbers'),
                         customer int CONSTRAINT of_customer REFERENCES customer, state state DEFAULT 'new');
    CREATE INDEX by_state ON orders (state); COMMENT ON TABLE orders IS 'asked for';
    INSERT INTO orders (customer) SELECT 1 + i % 2 FROM generate_series(1, 100) i;
    CREATE VIEW joined AS SELECT o.id FROM orders o JOIN customer c ON c.id = o.customer;
    CREATE FUNCTION paid(o int) RETURNS bool LANGUAGE sql AS 'SELECT state = ''paid'' FROM public.orders WHERE id = o';
    CREATE TABLE log (at int, what text) PARTITION BY RANGE (at);
    CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (at);
    CREATE TABLE log_1a PARTITION OF log_1 FOR VALUES FROM (0) TO (5);
    CREATE TABLE log_2 PARTITION OF log FOR VALUES FROM (10) TO (20);
    INSERT INTO log SELECT i, 'x' FROM generate_series(0, 4) i; INSERT INTO log VALUES (12, 'y');
    CREATE TABLE sales.invoice (id int GENERATED ALWAYS AS IDENTITY, \"of order\" int);
    INSERT INTO sales.invoice (\"of order\") SELECT i FROM generate_series(1, 10) i;
    CREATE MATERIALIZED VIEW sales.total AS SELECT count(*) AS n FROM sales.invoice;
    CREATE VIEW sales.customers AS TABLE public.customer;
    CREATE PUBLICATION everything FOR TABLE orders, customer;
    SELECT lo_create(4711);";

fn chosen(name: &str, kind: ObjectType) -> ChosenObject {
    ChosenObject::new(name.parse().unwrap(), kind)
}

/// A server with that database, and its saveset.
async fn tied() -> (Server, Saved) {
    let server = Server::version(17).start();
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql("shop", TIED);
    let saved = Saved::by_source(&server, "shop").await;
    (server, saved)
}

/// Tables, views and sequences of a database, and how many rows the tables have.
fn relations(server: &Server) -> Vec<String> {
    let sql = "SELECT c.relkind::text || ' ' || c.oid::regclass || CASE WHEN c.relkind = 'r' THEN ' ' || (xpath('//c/text()',
                      query_to_xml('SELECT count(*) AS c FROM ' || c.oid::regclass, true, true, '')))[1] ELSE '' END
                 FROM pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') AND c.oid >= 16384
                  AND c.relnamespace::regnamespace::text NOT LIKE 'pg%' ORDER BY 1";
    let found = server.psql("shop", sql);
    found.lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_and_a_schema_are_exported_with_what_belongs_to_them_and_nothing_else() {
    let (server, saved) = tied().await;
    let wanted = vec![
        chosen("orders", ObjectType::Table),
        chosen("log_1", ObjectType::Table),
        chosen("sales", ObjectType::Schema),
    ];
    let wanted = DatabaseSelection::only(ObjectName::one("shop"), wanted);
    for format in [ExportFormat::Sql, ExportFormat::Csv] {
        let exported = export_part(&server, &saved, format, wanted.clone());
        let exported = exported.await.unwrap();
        let loaded = load_into_new(17, &exported);
        let expected = [
            "S numbers",
            "S orders_id_seq",
            "S sales.invoice_id_seq",
            "m sales.total",
            "p log_1",
            "r log_1a 5",
            "r orders 100",
            "r sales.invoice 10",
        ];
        assert_eq!(relations(&loaded), expected);
        let found = "SELECT nextval('numbers'), nextval('orders_id_seq'), obj_description('orders'::regclass),
                            (SELECT n FROM sales.total), (SELECT count(*) FROM pg_indexes WHERE indexname = 'by_state'),
                            (SELECT count(*) FROM pg_proc WHERE proname = 'paid'),
                            (SELECT count(*) FROM pg_publication), (SELECT count(*) FROM pg_largeobject_metadata)";
        assert_eq!(
            loaded.psql("shop", found).trim(),
            "600|101|asked for|10|1|1|0|0"
        );
        let notes = exported.progress.notes().join("\n");
        for left_out in [
            "FK CONSTRAINT public orders of_customer",
            "VIEW sales customers",
        ] {
            assert!(notes.contains(left_out), "{notes}");
        }
        assert!(!notes.contains("log"), "{notes}");
        // What was not asked for is in no file.
        for path in files_below(&exported.folder)
            .iter()
            .filter(|path| path.is_file())
        {
            let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
            assert!(
                !text.contains("TABLE public.customer "),
                "{}",
                path.display()
            );
        }
        assert!(!exported.folder.join("schema.dump").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_exported_without_what_is_left_out() {
    let (server, saved) = tied().await;
    let exclude = vec![
        ExcludedObject::new(ObjectName::one("sales"), ObjectType::Schema),
        ExcludedObject::new(ObjectName::one("log"), ObjectType::Table),
        ExcludedObject::new(ObjectName::one("customer"), ObjectType::Table),
    ];
    let selection = DatabaseSelection {
        database: ObjectName::one("shop"),
        scope: Scope::Whole { exclude },
    };
    let exported = export_part(&server, &saved, ExportFormat::Sql, selection)
        .await
        .unwrap();
    let loaded = load_into_new(17, &exported);
    assert_eq!(
        relations(&loaded),
        ["S numbers", "S orders_id_seq", "r orders 100"]
    );
    let found = "SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = 'sales'),
                        (SELECT count(*) FROM pg_largeobject_metadata)";
    assert_eq!(loaded.psql("shop", found).trim(), "0|1");
    let notes = exported.progress.notes().join("\n");
    assert!(notes.contains("VIEW public joined"), "{notes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_exported_by_itself_is_an_error_and_nothing_stays() {
    let (server, saved) = tied().await;
    for (object, code) in [
        (chosen("nothing", ObjectType::Table), "no-such-object"),
        (chosen("joined", ObjectType::View), "needs-another-object"),
        (chosen("paid", ObjectType::Function), "not-built-yet"),
    ] {
        let wanted = DatabaseSelection::only(ObjectName::one("shop"), vec![object]);
        let failed = export_part(&server, &saved, ExportFormat::Sql, wanted).await;
        assert_eq!(failed.err().unwrap().code(), code);
    }
}
