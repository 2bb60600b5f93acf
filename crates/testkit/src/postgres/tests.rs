//! The fixture itself, on every version.

use std::time::Duration;

use super::{SUPERUSER, Server, VERSIONS};

fn lives_and_recovers(version: u32) {
    let server = Server::version(version).start();
    assert!(
        server
            .psql("postgres", "SHOW server_version")
            .starts_with(&version.to_string())
    );
    server.psql(
        "postgres",
        "CREATE TABLE t AS SELECT generate_series(1, 1000) AS n",
    );
    server.crash();
    assert!(server.try_psql("postgres", "SELECT 1").is_err());
    server.restart();
    assert_eq!(server.psql("postgres", "SELECT sum(n) FROM t"), "500500");
    server.stop();
    server.restart();
    assert_eq!(server.psql("postgres", "SELECT count(*) FROM t"), "1000");
}

#[test]
fn version_14_lives_and_recovers() {
    lives_and_recovers(14);
}

#[test]
fn version_15_lives_and_recovers() {
    lives_and_recovers(15);
}

#[test]
fn version_16_lives_and_recovers() {
    lives_and_recovers(16);
}

#[test]
fn version_17_lives_and_recovers() {
    lives_and_recovers(17);
}

#[test]
fn version_18_lives_and_recovers() {
    lives_and_recovers(18);
}

#[tokio::test]
async fn a_server_takes_clients_over_tcp_with_a_password_and_keeps_its_port() {
    let server = Server::version(17).tcp().start();
    let roles = server.least_rights_role();
    let url = server.url("postgres", roles.backup);
    assert!(url.starts_with("postgres://backstay@127.0.0.1:"), "{url}");
    let mut config: tokio_postgres::Config = url.parse().unwrap();
    let refused = config.connect(tokio_postgres::NoTls).await;
    assert!(refused.is_err(), "without a password");
    config.password(roles.password);
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("CHECKPOINT").await.unwrap();
    server.restart();
    assert_eq!(server.url("postgres", roles.backup), url);
}

#[tokio::test]
async fn the_url_of_a_socket_works_and_settings_hold_after_a_restart() {
    let server = Server::version(17).setting("summarize_wal", "on").start();
    let (client, connection) =
        tokio_postgres::connect(&server.url("postgres", SUPERUSER), tokio_postgres::NoTls)
            .await
            .unwrap();
    tokio::spawn(connection);
    let row = client.query_one("SHOW summarize_wal", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "on");
    server.set("work_mem", "7MB");
    server.restart();
    assert_eq!(server.psql("postgres", "SHOW work_mem"), "7MB");
}

#[tokio::test]
async fn a_paused_server_answers_nothing_until_it_goes_on() {
    let server = Server::version(17).start();
    let client = server.connect("postgres").await;
    server.pause();
    let answer = client.query_one("SELECT 42", &[]);
    tokio::pin!(answer);
    let waited = tokio::time::timeout(Duration::from_millis(300), &mut answer).await;
    assert!(waited.is_err(), "answered while paused");
    server.resume();
    let row = answer.await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 42);
}

#[test]
fn copies_share_the_system_identifier_and_a_fresh_one_does_not() {
    let identifier = |server: &Server| {
        server.psql(
            "postgres",
            "SELECT system_identifier FROM pg_control_system()",
        )
    };
    let first = Server::version(17).start();
    let second = Server::version(17).start();
    let fresh = Server::version(17).fresh().start();
    assert_eq!(identifier(&first), identifier(&second));
    assert_ne!(identifier(&first), identifier(&fresh));
}

#[test]
fn the_tools_of_every_version_fit_its_server() {
    for version in VERSIONS {
        let server = Server::version(version).start();
        server.pgbench("postgres", &["-i", "-s", "1", "-q"]);
        assert!(
            server
                .dump_schema("postgres")
                .contains("CREATE TABLE public.pgbench_accounts")
        );
        assert_eq!(
            server.dump_schema("postgres"),
            server.dump_schema("postgres")
        );
    }
}

#[test]
fn nothing_is_left_of_a_server() {
    let server = Server::version(15).start();
    let home = server.socket_dir().to_owned();
    let pid = server.psql("postgres", "SELECT pg_backend_pid()");
    server.crash();
    server.restart();
    drop(server);
    assert!(!home.exists());
    assert!(std::fs::read_link(format!("/proc/{pid}/exe")).is_err());
}

#[test]
#[should_panic(expected = "dev/test --setup-only")]
fn a_missing_version_names_the_command_that_brings_it() {
    let _ = Server::version(9).start();
}
