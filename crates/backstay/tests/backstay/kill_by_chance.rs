//! Processes killed at random moments, over and over: of the server, of PostgreSQL, of one stream.
//!
//! What must hold afterwards: no execution goes on that nobody runs; what was committed is there and
//! passes its check; what was not is nowhere; every failure has its true reason; a restore gives what
//! the database held when the backup was taken.

mod world;

use std::time::Duration;

use world::{Deed, Victim, World};

use crate::chance::{Chance, long};

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_any_moment_lose_nothing_and_leave_nothing_half_done() {
    let mut chance = Chance::new("kills");
    let mut world = World::new().await;
    let kills = if long() { 200 } else { 24 };
    for round in 1..=kills {
        world.change(&mut chance).await;
        let deed = *chance.of(&[
            Deed::Backup,
            Deed::Backup,
            Deed::Backup,
            Deed::Restore,
            Deed::Restore,
            Deed::Sweep,
        ]);
        let victim = match deed {
            Deed::Sweep => Victim::Server,
            _ => *chance.of(&[
                Victim::Server,
                Victim::Server,
                Victim::Server,
                Victim::Database,
                Victim::Backend,
                Victim::Session,
            ]),
        };
        let pause = Duration::from_micros(chance.below(world.usual(deed).as_micros() as u64));
        eprintln!("{round}: {deed:?}, {victim:?} after {pause:?}");
        let begun = world.begin(deed, &mut chance).await;
        tokio::time::sleep(pause).await;
        world = world.kill(victim).await;
        world.all_has_ended().await;
        world.what_was_committed_is_there().await;
        if let Some(restore) = begun.restore {
            world.nothing_half_restored(&restore, &mut chance).await;
        }
    }
    world.everything_can_be_restored().await;
}
