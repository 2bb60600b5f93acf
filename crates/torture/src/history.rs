//! One history: a workload, backups, and a comparison after each of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::ChangedBlocksSource;
use vault::Saveset;

use crate::moves::{Move, Theme, furnish};
use crate::noise::Noise;
use crate::rows::{self, Rows, Tables};
use crate::saveset::{Contents, Ended, Shelf, contents};
use crate::stage::Stage;
use crate::world::DATABASE;
use crate::{Dice, Rig, Story, Trouble, World};

/// How often a backup is begun anew before its history counts as failed.
const ATTEMPTS: usize = 4;

/// What to play.
#[derive(Debug, Clone, Copy, Default)]
pub struct Script {
    /// What it is about; `None`: the dice decide.
    pub theme: Option<Theme>,
    /// Whether the last saveset is restored too; `None`: the dice decide.
    pub restore: Option<bool>,
    /// Whether every backup is a FULL: what is wrong then is no delta's fault.
    pub full: bool,
}

/// What a history came to.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Savesets that were compared.
    pub savesets: usize,
    /// Deltas among them.
    pub deltas: usize,
    /// Deltas whose changed blocks came from WAL summaries.
    pub by_summaries: usize,
    /// Deltas that compared by hash.
    pub by_hash: usize,
    /// Segments of deltas that were referred to again.
    pub kept_segments: usize,
    /// Patches of all deltas.
    pub patches: usize,
    /// Attempts that ended without a saveset: begun anew, or ended by a crash.
    pub failed: usize,
    /// Savesets that were restored into a database.
    pub restored: usize,
}

impl Tally {
    /// Adds another history's.
    pub fn add(&mut self, other: &Tally) {
        self.savesets += other.savesets;
        self.deltas += other.deltas;
        self.by_summaries += other.by_summaries;
        self.by_hash += other.by_hash;
        self.kept_segments += other.kept_segments;
        self.patches += other.patches;
        self.failed += other.failed;
        self.restored += other.restored;
    }
}

/// How a history ended.
pub struct Played {
    /// What it was about.
    pub theme: Theme,
    /// Its numbers.
    pub tally: Tally,
    /// Why it ended early.
    pub trouble: Option<Trouble>,
}

/// Plays the history of a seed, and tells every step.
pub async fn play(rig: Arc<Rig>, seed: u64, script: Script, story: Story) -> Played {
    let mut dice = Dice::new(seed);
    let thrown = dice.weighted(&Theme::thrown());
    let theme = script.theme.unwrap_or(thrown);
    let mut tally = Tally::default();
    let world = match World::make(rig.clone(), dice, story).await {
        Ok(world) => world,
        Err(trouble) => {
            return Played {
                theme,
                tally,
                trouble: Some(trouble),
            };
        }
    };
    let stage = Stage::new(world, theme);
    let mut history = History {
        rig,
        stage: stage.clone(),
        theme,
        script,
        made: Vec::new(),
        noisy: false,
    };
    let mut trouble = history.all(&mut tally).await.err();
    let mut world = stage.world().await;
    if theme == Theme::Unsafe {
        let on = world.restart(|rig| rig.settle(&[("fsync", "on")]));
        trouble = trouble.or(on.err());
    }
    world.let_go();
    Played {
        theme,
        tally,
        trouble,
    }
}

struct History {
    rig: Arc<Rig>,
    stage: Arc<Stage>,
    theme: Theme,
    script: Script,
    made: Vec<Saveset>,
    noisy: bool,
}

impl History {
    async fn all(&mut self, tally: &mut Tally) -> Result<(), Trouble> {
        let (streams, deltas, restore) = {
            let mut world = self.stage.world().await;
            furnish(&mut world).await?;
            let dice = &mut world.dice;
            self.noisy = dice.chance(16);
            (dice.between(1, 2), dice.between(2, 4), dice.chance(7))
        };
        if self.theme == Theme::Unsafe {
            let off = |rig: &Rig| rig.settle(&[("fsync", "off")]);
            self.stage.world().await.restart(off)?;
        }
        let mut shelf = Shelf::make(&self.rig, self.stage.engine().await, streams).await?;
        let mut last = None;
        for round in 0..=deltas {
            self.moves(&mut shelf, round == 0).await?;
            if let Some(seen) = self.backup(&mut shelf, round, tally).await? {
                last = Some(seen);
            }
        }
        if self.script.restore.unwrap_or(restore) {
            self.restore(&mut shelf, last, tally).await?;
        }
        Ok(())
    }

    /// What happens before a backup.
    async fn moves(&self, shelf: &mut Shelf, first: bool) -> Result<(), Trouble> {
        let moves = self.theme.moves(false);
        let mut world = self.stage.world().await;
        if world.dice.chance(30) {
            world.like_one().await;
        }
        if self.theme == Theme::Beats {
            world.focus = Some(("a".into(), "first".into()));
        }
        let most = if first { 3 } else { 6 };
        let mut many = world.dice.between(usize::from(!first), most);
        if world.held().is_some() && (world.dice.chance(40) || self.theme == Theme::Beats) {
            world.planned.push_back(Move::LetGo);
        }
        while many > 0 || !world.planned.is_empty() {
            let thrown = world.dice.weighted(&moves);
            let one = world.planned.pop_front();
            match (one, thrown) {
                (Some(_), _) => {}
                // What they leave must not be disturbed before the backup.
                (None, Move::LostBeat | Move::UndoneBeat) => many = 0,
                (None, _) => many -= 1,
            }
            world.play(one.unwrap_or(thrown)).await?;
            if std::mem::take(&mut world.wants_beat) {
                shelf.beat().await;
            }
        }
        Ok(())
    }

    /// A backup, until it gives a saveset or is known to be unable to; the saveset is compared.
    async fn backup(
        &mut self,
        shelf: &mut Shelf,
        round: usize,
        tally: &mut Tally,
    ) -> Result<Option<Tables>, Trouble> {
        let (mut lively, older, which) = {
            let dice = &mut self.stage.world().await.dice;
            let lively = *dice.pick(&[0, 10, 25, 50]);
            (lively, dice.chance(20), dice.below(1 << 16))
        };
        let base = match (round, older) {
            _ if self.script.full => None,
            (0, _) => None,
            (_, false) => self.made.last().cloned(),
            (_, true) => self.made.get(which % self.made.len().max(1)).cloned(),
        };
        for attempt in 1.. {
            let on = base.as_ref().map(|base| base.id());
            let words = format!("=== backup {round}, attempt {attempt}, base {on:?}");
            self.stage.world().await.tell(words);
            self.stage.begin(lively, self.noisy).await;
            let noise = match self.noisy {
                true => Some(Noise::make(&self.rig, &mut self.stage.world().await.dice).await?),
                false => None,
            };
            let made = shelf.backup(base.clone()).await;
            if let Some(noise) = noise {
                noise.end().await;
            }
            let (seen, trouble) = self.stage.end().await;
            if let Some(trouble) = trouble {
                return Err(trouble);
            }
            match (made, seen) {
                (Ok(saveset), Some(seen)) => {
                    self.stage.world().await.tell("   the saveset is there");
                    let found = contents(&saveset).await?;
                    let on_base = base.is_some();
                    self.count(&found, on_base, tally).await;
                    compare(&seen, &found)?;
                    self.made.push(saveset);
                    return Ok(Some(seen));
                }
                (Ok(_), None) => return Err(Trouble::new("a saveset without a snapshot")),
                (Err(ended), _) => {
                    tally.failed += 1;
                    if !self.goes_on(ended, attempt).await? {
                        return Ok(None);
                    }
                }
            }
            lively = 0;
        }
        Ok(None)
    }

    /// Whether a backup that ended without a saveset is tried again.
    async fn goes_on(&self, ended: Ended, attempt: usize) -> Result<bool, Trouble> {
        let mut world = self.stage.world().await;
        let disturbed = world.disturbed;
        let (again, what) = match ended {
            Ended::Again(what) => (true, what),
            Ended::Failed(what) => (false, what),
        };
        world.tell(format!("   it ended: {what}"));
        match (again || disturbed, attempt < ATTEMPTS) {
            (true, true) => Ok(true),
            _ => Err(Trouble::new(format!("a backup failed: {what}"))),
        }
    }

    async fn count(&self, found: &Contents, delta: bool, tally: &mut Tally) {
        tally.savesets += 1;
        if delta {
            tally.deltas += 1;
            tally.kept_segments += found.kept_segments;
            tally.patches += found.patches;
            match found.changed_blocks {
                Some(ChangedBlocksSource::WalSummary) => tally.by_summaries += 1,
                Some(ChangedBlocksSource::Hash) => tally.by_hash += 1,
                None => {}
            }
        }
        let words = format!(
            "   saved: {:?}, {} segments kept, {} patches",
            found.changed_blocks, found.kept_segments, found.patches
        );
        self.stage.world().await.tell(words);
    }

    /// Restores the last saveset into a database beside the others, and compares that.
    async fn restore(
        &mut self,
        shelf: &mut Shelf,
        seen: Option<Tables>,
        tally: &mut Tally,
    ) -> Result<(), Trouble> {
        let (Some(seen), Some(saveset)) = (seen, self.made.last().cloned()) else {
            return Ok(());
        };
        // Prepared transactions hold locks, but not in another database.
        let name = format!("{DATABASE}_again");
        shelf.restore(saveset, &name).await?;
        let client = self.rig.hand(&name).await?;
        client.batch_execute("SET search_path = ''").await?;
        let restored = rows::of_database(&client).await?;
        tally.restored += 1;
        let (seen, restored) = (by_family(&seen), by_family(&restored));
        let wrong: Vec<String> = names(&seen, &restored)
            .into_iter()
            .filter_map(|name| {
                let (expected, found) = (seen.get(name), restored.get(name));
                (expected != found)
                    .then(|| format!("{name}: {expected:?} seen, {found:?} restored"))
            })
            .collect();
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(Trouble::loss(wrong.join("\n"))),
        }
    }
}

/// The rows of the tables of each family: the number of an enum's label decides which partition a row goes
/// to, and it is another one in another database.
fn by_family(tables: &Tables) -> BTreeMap<String, Rows> {
    let mut families: BTreeMap<String, Rows> = BTreeMap::new();
    for (name, seen) in tables {
        let family = name.trim_end_matches("_1").trim_end_matches("_2");
        families
            .entry(family.to_owned())
            .or_default()
            .add(seen.by_name);
    }
    families
}

fn names<'a, A, B>(
    one: &'a BTreeMap<String, A>,
    other: &'a BTreeMap<String, B>,
) -> Vec<&'a String> {
    let mut names: Vec<&String> = one.keys().chain(other.keys()).collect();
    names.sort();
    names.dedup();
    names
}

/// Holds a saveset against what its snapshot saw.
fn compare(seen: &Tables, saved: &Contents) -> Result<(), Trouble> {
    let mut wrong = Vec::new();
    for name in names(seen, &saved.tables) {
        match (seen.get(name), saved.tables.get(name)) {
            (Some(seen), Some((format, rows))) if seen.in_form(*format) == *rows => {}
            // A file may be there without a row in it.
            (None, Some((_, rows))) if rows.count == 0 && name.ends_with("pg_largeobject") => {}
            (seen, saved) => {
                let seen = seen.map(|seen| (seen.binary.count, seen.text.sum, seen.binary.sum));
                wrong.push(format!("{name}: {seen:?} seen, {saved:?} saved"));
            }
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Trouble::loss(wrong.join("\n"))),
    }
}
