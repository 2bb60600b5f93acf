//! A store that hangs: it takes the connection and answers nothing, or stops in the midst of a body.
//! Every run ends in its time with the true reason, and when the store goes on the next one is good.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::network::{Trouble, Way};

use crate::broken_store::{Shop, shop_with};
use crate::chance::{Chance, long};
use crate::process::{Server, TOKEN};

/// What the server's patience is set to, in milliseconds; it is thirty times as patient otherwise.
const PATIENCE: &str = "1000";

/// Of all that a run does after the store has fallen silent, in this patience.
const IN_TIME: Duration = Duration::from_secs(25);

async fn shop() -> Shop {
    shop_with(&impatient).await
}

fn impatient(command: &mut Command) {
    command.env("BACKSTAY_STORE_PATIENCE", PATIENCE);
}

#[track_caller]
fn failed_in_time(ended: &Value, begun: Instant, at: &str) {
    let detail = ended["status_detail"].as_str().unwrap();
    eprintln!("{at}: {:?}, {detail}", begun.elapsed());
    assert_eq!(ended["status"], "FAILED", "{at}: {ended:#}");
    assert!(detail.contains("no answer within"), "{at}: {detail}");
    assert!(begun.elapsed() < IN_TIME, "{at}: {:?}", begun.elapsed());
}

fn has_savesets(shop: &Shop, count: usize) {
    let savesets = shop.server.ask(&["saveset", "list", "shop"]);
    let listed = savesets.as_array().map(Vec::len);
    assert_eq!(listed, Some(count), "{savesets:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_into_a_store_that_falls_silent_fails_in_time_and_the_next_one_is_good() {
    let shop = shop().await;
    shop.network.heal();
    assert_eq!(shop.back_up().await["status"], "SUCCESSFUL");
    let mut good = 1;
    let sent = shop.network.passed(Way::ToServer);
    // No answer at all; silence in the midst of a pack; of an answer.
    for (way, after) in [
        (Way::ToServer, 1),
        (Way::ToServer, sent / 2),
        (Way::FromServer, 300),
    ] {
        let at = format!("{way:?} after {after}");
        shop.network.strike(Trouble::Hang, way, after);
        let begun = Instant::now();
        failed_in_time(&shop.back_up().await, begun, &at);
        shop.network.heal();
        assert_eq!(shop.back_up().await["status"], "SUCCESSFUL", "{at}");
        good += 1;
    }
    has_savesets(&shop, good);
    assert_eq!(shop.restore("copy.db").await["status"], "SUCCESSFUL");
    shop.is_equal("copy.db");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_from_a_store_that_falls_silent_fails_in_time_and_the_next_one_is_good() {
    let shop = shop().await;
    assert_eq!(shop.back_up().await["status"], "SUCCESSFUL");
    shop.network.heal();
    assert_eq!(shop.restore("first.db").await["status"], "SUCCESSFUL");
    let given = shop.network.passed(Way::FromServer);
    // What cannot even be looked at is not begun.
    shop.network.strike(Trouble::Hang, Way::FromServer, 1);
    let ask = ["restore", "shop", "--job", "nightly", "--latest", "--to"];
    let refused = shop.server.run(&[&ask[..], &["never.db"]].concat());
    refused.exits(1).complains("no answer within");
    let places = [given / 3, given / 2, given - given / 50];
    for (number, after) in places.into_iter().enumerate() {
        let at = format!("after {after} of {given}");
        shop.network.strike(Trouble::Hang, Way::FromServer, after);
        let begun = Instant::now();
        let copy = format!("copy-{number}.db");
        failed_in_time(&shop.restore(&copy).await, begun, &at);
        let databases = shop.server.folder().join("databases");
        assert!(!databases.join(&copy).exists(), "{at}: it is half there");
        shop.network.heal();
        assert_eq!(shop.restore(&copy).await["status"], "SUCCESSFUL", "{at}");
        shop.is_equal(&copy);
    }
}

/// Where the silence falls upon the commit nobody knows whether the saveset is there: the run waits for
/// the store, and says then what is true.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_ends_with_the_truth_wherever_the_store_was_silent_for_a_while() {
    let shop = shop().await;
    let mut chance = Chance::new("where the store falls silent");
    shop.network.heal();
    assert_eq!(shop.back_up().await["status"], "SUCCESSFUL");
    let mut good = 1;
    let total = shop.network.passed(Way::ToServer);
    // The last pack, and what is put behind it.
    let mut places = vec![total - total / 400, total - 1 - chance.below(4_000)];
    places.extend((0..if long() { 30 } else { 1 }).map(|_| chance.below(total)));
    for after in places {
        shop.network.strike(Trouble::Hang, Way::ToServer, after);
        let healing = async {
            tokio::time::sleep(Duration::from_secs(8)).await;
            shop.network.heal();
        };
        let (ended, ()) = tokio::join!(shop.back_up(), healing);
        let detail = ended["status_detail"].as_str().unwrap();
        eprintln!("after {after} of {total}: {} {detail}", ended["status"]);
        let warned = ["SUCCESSFUL", "COMPLETED_WITH_WARNINGS"].map(Value::from);
        if warned.contains(&ended["status"]) {
            good += 1;
        } else {
            assert_eq!(ended["status"], "FAILED", "{ended:#}");
            assert!(detail.contains("no answer within"), "{detail}");
        }
        assert_eq!(
            shop.back_up().await["status"],
            "SUCCESSFUL",
            "after {after}"
        );
        good += 1;
        has_savesets(&shop, good);
    }
    assert_eq!(shop.restore("copy.db").await["status"], "SUCCESSFUL");
    shop.is_equal("copy.db");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_store_is_silent_answers_its_checks_ends_in_order_and_starts_again() {
    let mut shop = shop().await;
    assert_eq!(shop.back_up().await["status"], "SUCCESSFUL");
    shop.network.strike(Trouble::Hang, Way::ToServer, 1);
    let begun = Instant::now();
    let check = shop.server.run(&["site", "check", "shop"]);
    let said = format!("{}{}", check.stdout, check.stderr);
    assert!(said.contains("no answer within"), "{check:#?}");
    let verify = ["saveset", "verify", "shop", "1"];
    let verify = shop.server.run(&verify);
    let said = format!("{}{}", verify.stdout, verify.stderr);
    assert!(
        verify.code != 0 && said.contains("no answer within"),
        "{verify:#?}"
    );
    assert!(begun.elapsed() < IN_TIME, "{:?}", begun.elapsed());

    shop.server.run(&["job", "run", "shop", "nightly"]).exits(0);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let begun = Instant::now();
    let (status, folder) = shop.server.terminate();
    assert_eq!(status.code(), Some(0));
    shop.server = Server::start_in(folder, &|command| {
        command.env("BACKSTAY_ADMIN_TOKEN", TOKEN);
        impatient(command);
    });
    assert!(begun.elapsed() < IN_TIME, "{:?}", begun.elapsed());
    shop.network.heal();
    // The run that was under way was queued again.
    let begun = Instant::now();
    loop {
        let all = shop.server.ask(&["execution", "list", "shop"]);
        if all[0]["status"] == "SUCCESSFUL" && all.as_array().unwrap().len() > 2 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{all:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(shop.restore("copy.db").await["status"], "SUCCESSFUL");
    shop.is_equal("copy.db");
}
