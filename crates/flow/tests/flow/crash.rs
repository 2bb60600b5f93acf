//! A server that dies at any call of the store leaves a whole saveset or none.

use std::sync::Arc;

use vault::DeadOrAlive;

use crate::rig::Rig;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash_at_any_call_the_saveset_is_whole_or_never_there() {
    let (mut dead, mut whole) = (0, 0);
    for n in 1.. {
        let rig = Arc::new(Rig::with_a_shop().await);
        rig.store.crash_at(n);
        let mut run = tokio::spawn({
            let rig = rig.clone();
            async move { rig.backup().await }
        });
        tokio::select! {
            () = rig.store.crashed() => run.abort(),
            ended = &mut run => {
                ended.unwrap().expect("there was no crash");
                break;
            }
        }
        // What the dead process would still do never reaches the store.
        let vault = rig.reopened().await;
        for pin in vault.pins().await.unwrap() {
            match vault.declare_dead(pin.saveset_id, "the server died").await {
                Ok(DeadOrAlive::Dead) => dead += 1,
                Ok(DeadOrAlive::Committed(saveset)) => {
                    rig.restore(&saveset, "copy").await.unwrap();
                    assert_eq!(rig.engine.contents("copy"), rig.engine.contents("shop"));
                    whole += 1;
                }
                Err(error) => panic!("call {n}: {error}"),
            }
        }
        assert_eq!(vault.pins().await.unwrap().len(), 0, "call {n}");
    }
    // Before the commit, and between the commit and the end of its pin.
    assert!(dead >= 4 && whole >= 1, "{dead} dead, {whole} whole");
}
