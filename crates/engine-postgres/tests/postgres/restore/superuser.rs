//! What only a superuser can make, what belongs to the server, and what one server has and another
//! lacks: roles, tablespaces, providers of labels.

use model::{Credentials, Engine, Findings};
use std::sync::Arc;
use testkit::RecordedProgress;
use testkit::digest::assert_equal;
use testkit::postgres::{SUPERUSER, SUPERUSER_PASSWORD, Server};

use super::drive::{engine, restore_as_superuser, site};
use super::refusals::small;
use super::round_trip::{about_database, rows_of, server_with_shop, similar};
use super::saved::Saved;
use crate::reading::Reading;

/// A server with the database that has everything, what only superusers can make included.
fn server_with_more_than_everything(version: u32) -> Server {
    let server = server_with_shop(version);
    server.psql("shop", include_str!("for_superusers.sql"));
    server
}

async fn a_round_trip(version: u32) {
    let server = server_with_more_than_everything(version);
    let before = rows_of(&server, "shop").await;
    let saved = Saved::by_superuser(&server, "shop").await;
    let restored = restore_as_superuser(&server, &saved, "the copy")
        .await
        .unwrap();
    assert_eq!(restored.errors, [""; 0]);
    assert_eq!(restored.warned, [""; 0]);
    assert_eq!(restored.progress.warnings(), [""; 0]);
    assert_equal(&before, &rows_of(&server, "the copy").await);
    similar(&server.dump_schema("shop"), &server.dump_schema("the copy"));
    assert_eq!(
        about_database(&server, "shop"),
        about_database(&server, "the copy")
    );
    // A table with a part on another server, which does not answer: nobody has asked it.
    let notes = restored.progress.notes();
    let told = |note: &String| note.contains("special.near_and_far") && note.contains("more.one");
    assert!(version == 18 || notes.iter().any(told), "{notes:?}");
    assert!(!server.log().contains("could not connect"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_superusers_can_make_comes_back_on_14() {
    a_round_trip(14).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_superusers_can_make_comes_back_on_15() {
    a_round_trip(15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_superusers_can_make_comes_back_on_16() {
    a_round_trip(16).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_superusers_can_make_comes_back_on_17() {
    a_round_trip(17).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_superusers_can_make_comes_back_on_18() {
    a_round_trip(18).await;
}

/// What stands in the way of a restore as a superuser.
async fn findings(server: &Server, saved: &Saved) -> Findings {
    let request = saved.request("shop", Arc::new(RecordedProgress::new()));
    let superuser = Credentials {
        user: SUPERUSER.to_owned(),
        password: SUPERUSER_PASSWORD.into(),
    };
    let (engine, site) = (engine(server), site(server));
    let target = engine.open_target(&site, Some(&superuser), request);
    target.await.unwrap().findings().await.unwrap()
}

/// What is said of the roles of a server, and who is a member of whom.
fn roles_of(server: &Server) -> String {
    let options = match server.major() {
        14 | 15 => "admin_option",
        _ => "format('%s %s %s', admin_option, inherit_option, set_option)",
    };
    let sql = format!(
        "SELECT format('%s %s %s %s %s %s %s %s %s %s', rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb,
                rolcanlogin, rolreplication, rolconnlimit, rolvaliduntil, rolbypassrls),
            (SELECT rolconfig FROM pg_roles p WHERE p.oid = r.oid), shobj_description(oid, 'pg_authid'),
            (SELECT array_agg(format('%s %s', roleid::regrole, {options}) ORDER BY roleid::regrole::text)
             FROM pg_auth_members WHERE member = r.oid)
         FROM pg_roles r WHERE rolname !~ '^(pg_|backstay)' AND rolname !~ '^chief' ORDER BY rolname"
    );
    server.psql("postgres", &sql)
}

async fn a_move_to_a_server_without_roles(version: u32) {
    let source = server_with_more_than_everything(version);
    let reading = Reading::new(&source, "shop");
    let saved = Saved::read(&reading).await;
    let warnings = reading.progress.warnings();
    let mappings = "user mappings of PUBLIC on server \"far \"\"away\"\"\", reader on server";
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains(mappings), "{warnings:?}");
    let target = Server::version(version).start();
    target.least_rights_role();
    let home = target.socket_dir().display().to_string();
    target.psql(
        "postgres",
        &format!(
            "COPY (SELECT 1) TO PROGRAM 'mkdir {home}/quick'; CREATE TABLESPACE quick LOCATION '{home}/quick'"
        ),
    );
    let found = findings(&target, &saved).await;
    let codes: Vec<&str> = found.obstacles.iter().map(|o| o.code.as_str()).collect();
    assert_eq!(codes, ["unknown-role"], "{:?}", found.obstacles);
    let remedy = found.obstacles[0].remedy.as_ref().unwrap();
    assert!(!remedy.contains("never in a saveset"), "{remedy}");
    target.psql("postgres", remedy);
    assert_eq!(roles_of(&source), roles_of(&target));

    let restored = restore_as_superuser(&target, &saved, "shop").await.unwrap();
    assert_eq!(restored.errors, [""; 0]);
    assert_eq!(restored.progress.warnings(), [""; 0]);
    // One of the tablespaces is there: what lies in it does so again.
    assert_eq!(restored.warned.len(), 1, "{:?}", restored.warned);
    let warned = &restored.warned[0];
    assert!(
        warned.contains("CREATE TABLESPACE \"slow \"\"one\"\"\"")
            && warned.contains("random_page_cost")
            && !warned.contains("quick"),
        "{warned}"
    );
    assert_equal(
        &rows_of(&source, "shop").await,
        &rows_of(&target, "shop").await,
    );
    let placed = "SELECT string_agg(relname || ' ' || coalesce(spcname, ''), ', ' ORDER BY relname) FROM pg_class c
        LEFT JOIN pg_tablespace t ON t.oid = reltablespace WHERE relname ~ '^placed' AND relkind <> 't'";
    let found = target.psql("shop", placed);
    assert_eq!(
        found,
        source.psql("shop", placed).replace("slow \"one\"", "")
    );
    let without = |text: &str| -> String {
        let lines = text
            .lines()
            .filter(|line| !line.starts_with("SET default_table"));
        // The role that read these may not see them, and was told so.
        let options = " OPTIONS (\n    password 'of a mapping',\n    \"user\" 'nobody'\n)";
        let text = lines.collect::<Vec<_>>().join("\n").replace(options, "");
        // pg_dump lists a policy's roles in the order in which they were made.
        text.replace(" OPTIONS (\n    \"user\" 'reader''s'\n)", "")
            .replace("TO reader, clerk", "TO clerk, reader")
    };
    similar(
        &without(&source.dump_schema("shop")),
        &without(&target.dump_schema("shop")),
    );
    assert_eq!(
        about_database(&source, "shop"),
        about_database(&target, "shop")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_remedy_for_absent_roles_makes_them_as_they_were_with_memberships_on_15() {
    a_move_to_a_server_without_roles(15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_remedy_for_absent_roles_makes_them_as_they_were_with_memberships_on_18() {
    a_move_to_a_server_without_roles(18).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_whose_provider_is_not_there_is_told_and_ends_nothing() {
    let server = Server::version(17).start();
    small(&server).await;
    // No provider comes with the servers of the tests: its label is written as it would write it.
    server.psql(
        "shop",
        "SET ROLE app; SELECT lo_create(4711); RESET ROLE;
         INSERT INTO pg_seclabel VALUES ('s.item'::regclass, 'pg_class'::regclass, 0, 'some provider', 'it''s; secret'),
                                        (4711, 'pg_largeobject'::regclass, 0, 'some provider', 'of bytes')",
    );
    let saved = Saved::by_source(&server, "shop").await;
    let restored = super::drive::restore(&server, &saved, |_| (), "copy")
        .await
        .unwrap();
    assert_eq!(restored.errors, [""; 0]);
    let warnings = restored.progress.warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    for label in [
        "TABLE s.item IS 'it''s; secret'",
        "LARGE OBJECT 4711 IS 'of bytes'",
    ] {
        let told = format!("SECURITY LABEL FOR \"some provider\" ON {label}");
        assert!(warnings.iter().any(|w| w.contains(&told)), "{warnings:?}");
    }
    assert_eq!(server.psql("copy", "SELECT count(*) FROM s.item"), "1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_statistics_fail_costs_only_them() {
    let server = Server::version(17).start();
    small(&server).await;
    server.psql(
        "shop",
        "SET ROLE app; CREATE FUNCTION s.picky(x int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
            BEGIN IF current_database() <> 'shop' THEN RAISE 'not here'; END IF; RETURN x; END $$;
         CREATE TABLE s.picked (x int); INSERT INTO s.picked VALUES (1);
         CREATE STATISTICS s.pick ON (s.picky(x)) FROM s.picked",
    );
    let saved = Saved::by_source(&server, "shop").await;
    let restored = super::drive::restore(&server, &saved, |_| (), "copy")
        .await
        .unwrap();
    let warnings = restored.progress.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("s.picked has no statistics yet") && warnings[0].contains("not here"),
        "{warnings:?}"
    );
    let analyzed = "SELECT count(DISTINCT tablename) FROM pg_stats WHERE schemaname = 's'";
    assert_ne!(server.psql("copy", analyzed), "0");
    assert_eq!(server.psql("copy", "SELECT count(*) FROM s.picked"), "1");
}
