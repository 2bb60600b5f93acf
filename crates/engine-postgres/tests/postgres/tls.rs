//! The six ways of `sslmode`, and a whole backup through TLS.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine_postgres::{PostgresEngine, PostgresOptions};
use model::{
    Connection, DatabaseSelection, Engine, NoProgress, ObjectName, Outcome, Parent, RowFormat,
    SecretString, Source, SourceRequest,
};
use testkit::postgres::Server;

use crate::reading::{begin, psql_copy, read_segment};

fn certificate(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/postgres/certificates")
        .join(name)
}

/// A server that speaks TLS and takes only these lines of pg_hba.conf over TCP.
fn server_with(lines: &str) -> Server {
    let server = Server::version(17).tcp().start();
    server.least_rights_role();
    let data = server.data_dir();
    let owner = fs::metadata(&data).unwrap();
    for name in ["server.crt", "server.key"] {
        let place = data.join(name);
        fs::copy(certificate(name), &place).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o600)).unwrap();
        chown(&place, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    fs::write(
        data.join("pg_hba.conf"),
        format!("local all all trust\n{lines}\n"),
    )
    .unwrap();
    server.set("ssl", "on");
    server.restart();
    server
}

/// The server as `localhost`, for which its certificate is.
fn connection(server: &Server, parameters: &str) -> Connection {
    let url = server
        .url("postgres", "backstay")
        .replace("127.0.0.1", "localhost");
    Connection::Postgresql {
        url: format!("{url}?{parameters}"),
        password: Some(SecretString::from(server.least_rights_role().password)),
    }
}

async fn connects(server: &Server, parameters: &str) -> Result<(), &'static str> {
    let engine = PostgresEngine::new(PostgresOptions::default());
    let answer = engine
        .browse(&connection(server, parameters), &Parent::Root)
        .await;
    answer.map(|_| ()).map_err(|error| error.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_sslmode_asks_for_what_it_says() {
    let server = server_with("host all all all scram-sha-256");
    let roots = format!("&sslrootcert={}", certificate("ca.crt").display());
    let others = format!("&sslrootcert={}", certificate("other_ca.crt").display());
    for mode in ["disable", "allow", "prefer", "require"] {
        assert_eq!(
            connects(&server, &format!("sslmode={mode}")).await,
            Ok(()),
            "{mode}"
        );
    }
    // The system knows nothing of the authority of the tests.
    for mode in ["verify-ca", "verify-full"] {
        assert_eq!(
            connects(&server, &format!("sslmode={mode}")).await,
            Err("source-tls"),
            "{mode}"
        );
    }
    for mode in ["require", "verify-ca", "verify-full"] {
        assert_eq!(
            connects(&server, &format!("sslmode={mode}{roots}")).await,
            Ok(()),
            "{mode}"
        );
        let refused = connects(&server, &format!("sslmode={mode}{others}")).await;
        assert_eq!(refused, Err("source-tls"), "{mode}");
    }
    // By another name only verify-full minds.
    let by_address = format!("{roots}&hostaddr=127.0.0.1");
    let engine = PostgresEngine::new(PostgresOptions::default());
    for (mode, fine) in [("verify-ca", true), ("verify-full", false)] {
        let Connection::Postgresql { url, password } =
            connection(&server, &format!("sslmode={mode}{by_address}"))
        else {
            unreachable!("it is one");
        };
        let renamed = Connection::Postgresql {
            url: url.replace("localhost", "db.example"),
            password,
        };
        let answer = engine.browse(&renamed, &Parent::Root).await;
        assert_eq!(answer.is_ok(), fine, "{mode}");
    }
    let missing = connects(&server, "sslmode=verify-full&sslrootcert=/nonexistent").await;
    assert_eq!(missing, Err("source-tls"));
}

#[tokio::test(flavor = "multi_thread")]
async fn allow_and_prefer_try_the_other_way_where_the_server_wants_it() {
    let only_tls = server_with("hostssl all all all scram-sha-256");
    assert_eq!(
        connects(&only_tls, "sslmode=disable").await,
        Err("login-refused")
    );
    assert_eq!(connects(&only_tls, "sslmode=allow").await, Ok(()));
    let only_plain = server_with("hostnossl all all all scram-sha-256");
    assert_eq!(
        connects(&only_plain, "sslmode=require").await,
        Err("login-refused")
    );
    assert_eq!(connects(&only_plain, "sslmode=prefer").await, Ok(()));
}

async fn open(server: &Server) -> Outcome<Box<dyn Source>> {
    let roots = certificate("ca.crt");
    let connection = connection(
        server,
        &format!("sslmode=verify-full&sslrootcert={}", roots.display()),
    );
    let engine = PostgresEngine::new(PostgresOptions {
        tool_directories: vec![server.tools_dir().to_owned()],
        ..PostgresOptions::default()
    });
    let request = SourceRequest {
        selection: DatabaseSelection::whole(ObjectName::one("shop")),
        online: true,
        streams: 1,
        server_execution_id: "5.1".parse().unwrap(),
        yield_to_ddl: None,
        max_snapshot: None,
        skip_without_rights: false,
        base: None,
        beats: Vec::new(),
        progress: Arc::new(NoProgress),
    };
    engine.open_source(&connection, request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_through_tls_gives_the_same_rows_and_can_be_cancelled() {
    let server = server_with("hostssl all all all scram-sha-256");
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql(
        "shop",
        "CREATE TABLE t AS SELECT i, repeat(md5(i::text), 20) AS x FROM generate_series(1, 60000) i",
    );
    let mut source = open(&server).await.unwrap();
    let mut backup = begin(source.as_mut()).await.unwrap();
    backup.read_rows(source.as_mut(), 1).await.unwrap();
    backup.end(source).await.unwrap();
    let expected = psql_copy(
        &server,
        "shop",
        "SELECT i, x FROM public.t",
        RowFormat::Binary,
    );
    assert!(backup.rows_of("public.t") == expected);

    let mut source = open(&server).await.unwrap();
    let backup = begin(source.as_mut()).await.unwrap();
    let mut reader = source.reader().await.unwrap();
    let canceller = reader.canceller();
    let task = backup.plan.tasks[0].clone();
    server.pause();
    let read = tokio::task::spawn_blocking(move || read_segment(reader.as_mut(), &task).err());
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begun = Instant::now();
    drop(canceller);
    assert_eq!(
        read.await.unwrap().expect("it was cancelled").code(),
        "cancelled"
    );
    assert!(begun.elapsed() < Duration::from_secs(1));
    server.resume();
}
