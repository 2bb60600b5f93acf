//! Moved frames: where a compaction has put what manifests and sheets still know by its first place.
//!
//! Manifests and sheets are never changed. A list, `moves/<n>`, says for frames that were moved in which
//! pack they lie now; the list with the highest number holds. A frame is told its last place at once,
//! never a place it was moved away from. A reader asks for the list only when a pack is missing: until the
//! grace period of a sweep has passed, the frames are in both places.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError};

use serde::{Deserialize, Serialize};

use crate::pack_reader::on_cpu;
use crate::seal::{Kind, open_kind, seal_json};
use crate::store::PutNew;
use crate::vault::{number, versioned};
use crate::{FrameRun, PackId, Vault, VaultError};

pub(crate) const MOVES_FORMAT: u64 = 1;

/// The JSON of a list is at most this long.
const MAX_MOVES_BYTES: u64 = 256 << 20;

/// A frame, by its pack and its number there.
pub(crate) type Frame = (PackId, u32);

/// All frames that do not lie any more where they are referred to.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    number: u64,
    /// By their first place; each pack's by ascending frames, without overlap.
    moved: HashMap<PackId, Vec<Moved>>,
}

#[derive(Debug, Clone, Copy)]
struct Moved {
    first: u32,
    count: u32,
    to: PackId,
    to_first: u32,
}

#[derive(Serialize, Deserialize)]
struct MovesFile {
    format: u64,
    moved: Vec<MovedRun>,
}

#[derive(Serialize, Deserialize)]
struct MovedRun {
    from: FrameRun,
    pack: PackId,
    first: u32,
}

impl Moves {
    /// Where the first frames of a run lie now: a run of at least one frame and of no more than it has.
    pub(crate) fn place(&self, run: &FrameRun) -> FrameRun {
        let Some(moved) = self.moved.get(&run.pack) else {
            return *run;
        };
        let behind = moved.partition_point(|moved| moved.first <= run.first);
        let before = behind.checked_sub(1).map(|place| moved[place]);
        if let Some(moved) = before.filter(|moved| run.first - moved.first < moved.count) {
            let skipped = run.first - moved.first;
            return FrameRun {
                pack: moved.to,
                first: moved.to_first + skipped,
                count: run.count.min(moved.count - skipped),
            };
        }
        let until = moved.get(behind).map_or(u32::MAX, |next| next.first);
        FrameRun {
            count: run.count.min(until - run.first),
            ..*run
        }
    }

    /// Where all frames of a run lie now.
    pub(crate) fn places(&self, run: &FrameRun) -> Vec<FrameRun> {
        let mut places = Vec::new();
        let mut rest = Some(*run);
        while let Some(run) = rest.filter(|run| run.count > 0) {
            let place = self.place(&run);
            places.push(place);
            rest = run.after(place.count);
        }
        places
    }

    /// The next list: some frames were moved from where they lay. What was moved into a pack that is not
    /// there any more is referred to by nobody.
    pub(crate) fn next(
        &self,
        now: &BTreeMap<Frame, Frame>,
        is_there: &HashSet<PackId>,
    ) -> Result<Moves, VaultError> {
        let mut frames: BTreeMap<Frame, Frame> = now.clone();
        for (pack, moved) in &self.moved {
            for moved in moved {
                for step in 0..moved.count {
                    let at = (moved.to, moved.to_first + step);
                    let at = now.get(&at).copied().unwrap_or(at);
                    if is_there.contains(&at.0) {
                        frames.insert((*pack, moved.first + step), at);
                    }
                }
            }
        }
        let runs = frames.iter().map(|(from, to)| MovedRun {
            from: FrameRun {
                pack: from.0,
                first: from.1,
                count: 1,
            },
            pack: to.0,
            first: to.1,
        });
        Moves::of(self.number + 1, runs).map_err(|what| VaultError::Internal {
            doing: "list moved frames",
            why: what,
        })
    }

    /// Neighbours become one.
    fn of(number: u64, runs: impl Iterator<Item = MovedRun>) -> Result<Moves, String> {
        let mut all: HashMap<PackId, Vec<Moved>> = HashMap::new();
        for run in runs {
            let moved = Moved {
                first: run.from.first,
                count: run.from.count,
                to: run.pack,
                to_first: run.first,
            };
            let ends = [moved.first, moved.to_first].map(|first| first.checked_add(moved.count));
            if moved.count == 0 || ends.contains(&None) {
                return Err(format!("it moves no frames of pack {}", run.from.pack));
            }
            let of_pack = all.entry(run.from.pack).or_default();
            match of_pack.last_mut() {
                Some(last) if last.first + last.count > moved.first => {
                    return Err(format!("it moves a frame of pack {} twice", run.from.pack));
                }
                Some(last)
                    if last.first + last.count == moved.first
                        && last.to == moved.to
                        && last.to_first + last.count == moved.to_first =>
                {
                    last.count += moved.count;
                }
                _ => of_pack.push(moved),
            }
        }
        Ok(Moves { number, moved: all })
    }

    fn file(&self) -> MovesFile {
        let runs = self.moved.iter().flat_map(|(pack, moved)| {
            moved.iter().map(|moved| MovedRun {
                from: FrameRun {
                    pack: *pack,
                    first: moved.first,
                    count: moved.count,
                },
                pack: moved.to,
                first: moved.to_first,
            })
        });
        let mut moved: Vec<MovedRun> = runs.collect();
        moved.sort_unstable_by_key(|moved| moved.from);
        MovesFile {
            format: MOVES_FORMAT,
            moved,
        }
    }
}

fn moves_path(number: u64) -> String {
    format!("moves/{number}")
}

impl Vault {
    /// The list as it was read last; empty before that.
    pub(crate) fn moves(&self) -> Arc<Moves> {
        self.0
            .moves
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set_moves(&self, moves: Moves) {
        let mut known = self.0.moves.lock().unwrap_or_else(PoisonError::into_inner);
        if moves.number > known.number {
            *known = Arc::new(moves);
        }
    }

    /// Reads the list that holds, if it is newer than the one that is known.
    pub(crate) async fn load_moves(&self) -> Result<(), VaultError> {
        let mut tries = self.0.store.limits().tries;
        loop {
            let highest = self.move_lists().await?.pop();
            let Some(highest) = highest.filter(|highest| *highest > self.moves().number) else {
                return Ok(());
            };
            tries = tries.saturating_sub(1);
            match self.read_moves(highest).await {
                // A newer one took its place.
                Err(VaultError::Missing { .. }) if tries > 0 => {}
                other => {
                    self.set_moves(other?);
                    return Ok(());
                }
            }
        }
    }

    /// Reads the list of that number.
    pub(crate) async fn read_moves(&self, list: u64) -> Result<Moves, VaultError> {
        let path = moves_path(list);
        let limit = MAX_MOVES_BYTES + (1 << 20);
        let object = self.0.store.get(&path, limit).await?;
        let keys = self.0.keys.clone();
        on_cpu(move || {
            let plain = open_kind(&keys, Kind::Moves, &path, &object, MAX_MOVES_BYTES)?;
            let file: MovesFile = versioned(&path, &plain, MOVES_FORMAT)?;
            Moves::of(list, file.moved.into_iter()).map_err(|what| VaultError::damaged(path, what))
        })
        .await
    }

    /// Makes a list hold. `false`: another one has taken its number.
    pub(crate) async fn put_moves(&self, moves: Moves) -> Result<bool, VaultError> {
        let path = moves_path(moves.number);
        let file = moves.file();
        let (keys, sealed_path) = (self.0.keys.clone(), path.clone());
        let seal = move || seal_json(&keys, Kind::Moves, &sealed_path, &file);
        let object = on_cpu(seal).await?;
        let store = &self.0.store;
        match store.put_new(&path, object, store.limits().pack).await? {
            PutNew::Ours => {
                self.set_moves(moves);
                Ok(true)
            }
            PutNew::Other(_) => Ok(false),
        }
    }

    /// Deletes the lists before the last two.
    pub(crate) async fn remove_old_moves(&self) -> Result<(), VaultError> {
        let lists = self.move_lists().await?;
        for old in lists.iter().rev().skip(2) {
            self.0.store.delete(&moves_path(*old)).await?;
        }
        Ok(())
    }

    /// The numbers of all lists, ascending.
    pub(crate) async fn move_lists(&self) -> Result<Vec<u64>, VaultError> {
        let names = self.0.store.list("moves").await?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|(name, _)| number(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}
