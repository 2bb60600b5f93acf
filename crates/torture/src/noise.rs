//! Sessions that write while a backup runs, at no moment that a seed could name.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::world::DATABASE;
use crate::{Dice, Rig, Trouble};

/// How many sessions.
const SESSIONS: usize = 2;

/// Writes until it is told to be quiet.
pub struct Noise {
    quiet: Arc<AtomicBool>,
    sessions: Vec<JoinHandle<()>>,
}

impl Noise {
    /// Begins.
    ///
    /// # Errors
    /// Where no session can be had.
    pub async fn make(rig: &Rig, dice: &mut Dice) -> Result<Noise, Trouble> {
        let quiet = Arc::new(AtomicBool::new(false));
        let mut sessions = Vec::new();
        for _ in 0..SESSIONS {
            let client = rig.hand(DATABASE).await?;
            let dice = Dice::new(dice.below(1 << 30) as u64);
            sessions.push(tokio::spawn(write(client, dice, quiet.clone())));
        }
        Ok(Noise { quiet, sessions })
    }

    /// Ends, with all its transactions.
    pub async fn end(self) {
        self.quiet.store(true, Ordering::Relaxed);
        for session in self.sessions {
            // One that a crash has thrown out has ended.
            session.await.ok();
        }
    }
}

async fn write(client: Client, mut dice: Dice, quiet: Arc<AtomicBool>) {
    while !quiet.load(Ordering::Relaxed) && !client.is_closed() {
        let id = dice.below(900);
        let some = match dice.below(4) {
            0 => format!(
                "INSERT INTO a.first (id, pad) VALUES ({}, 'noise')",
                5_000_000 + dice.below(1_000_000_000)
            ),
            1 => format!("DELETE FROM a.first WHERE id = {id}"),
            _ => {
                format!("UPDATE a.first SET pad = 'noise {id}' WHERE id BETWEEN {id} AND {id} + 2")
            }
        };
        let end = *dice.pick(&["COMMIT", "COMMIT", "COMMIT", "ROLLBACK"]);
        // Others may stand in its way.
        if client
            .batch_execute(&format!("BEGIN; {some}"))
            .await
            .is_ok()
        {
            tokio::time::sleep(Duration::from_millis(dice.below(6) as u64)).await;
            client.batch_execute(end).await.ok();
        } else {
            client.batch_execute("ROLLBACK").await.ok();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
