//! Rules of the changed blocks: taken out, each loses rows in a history that is right with it. The ends of
//! files, what was cut off them, and `fsync` have stories of their own in the tests of `engine-postgres`.

use std::sync::Arc;

use engine_postgres::{Rule, take_out};
use rstest::rstest;
use tokio::sync::Mutex;
use torture::{Played, Rig, Script, Story, Theme, play};

/// Rules are taken out of the whole process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// A server has timings of its own: a history that loses rows may not do so each time.
const TRIES: usize = 4;

async fn played(rig: &Arc<Rig>, theme: Theme, seed: u64) -> Played {
    let script = Script {
        theme: Some(theme),
        ..Script::default()
    };
    play(rig.clone(), seed, script, Story::default()).await
}

/// Whether the history loses rows without these rules, and none with them.
async fn loses(rules: &[Rule], theme: Theme, seed: u64) {
    let _alone = ONE_AT_A_TIME.lock().await;
    let rig = Arc::new(Rig::start(17));
    let right = played(&rig, theme, seed).await;
    let trouble = right.trouble.map(|trouble| trouble.to_string());
    assert_eq!(trouble, None, "with all rules, seed {seed}, {theme}");
    for _ in 0..TRIES {
        take_out(rules);
        let rig = Arc::new(Rig::start(17));
        let wrong = played(&rig, theme, seed).await;
        take_out(&[]);
        if wrong.trouble.is_some_and(|trouble| trouble.is_loss()) {
            return;
        }
    }
    panic!("without {rules:?}, seed {seed}, {theme} loses nothing");
}

#[rstest]
#[case(Rule::WindowStart, Theme::Rows, 14)]
#[case(Rule::SealedBeats, Theme::Beats, 6)]
#[case(Rule::DurableBeats, Theme::Beats, 27)]
#[case(Rule::WindowEnd, Theme::Rows, 1)]
#[case(Rule::NoGaps, Theme::Summaries, 8)]
#[case(Rule::SameHistory, Theme::SetBack, 3)]
#[case(Rule::SameDatabase, Theme::Databases, 10)]
#[case(Rule::SameHeap, Theme::Heaps, 2)]
#[case(Rule::SameShape, Theme::Shapes, 6)]
#[case(Rule::Names, Theme::Shapes, 29)]
#[case(Rule::DatabaseRemade, Theme::Databases, 2)]
#[case(Rule::Unlogged, Theme::Heaps, 4)]
#[tokio::test(flavor = "multi_thread")]
async fn without_a_rule_rows_are_lost(#[case] rule: Rule, #[case] theme: Theme, #[case] seed: u64) {
    loses(&[rule], theme, seed).await;
}
