//! Compaction: frames that are still referred to leave the packs that hold little else.
//!
//! A frame is sealed for its place, so its seal is opened and what it held, packed as it was, is sealed
//! again in a new pack. Manifests and sheets stay as they are: a [list of moved frames](crate::moves) says
//! where the frames lie now, and putting it is the one step that counts. Before it nothing refers to the
//! new packs, and a sweep removes them if the compaction dies (they lie under its pin while it lives);
//! behind it nothing refers to the old ones, and sweeps mark and remove them. Drops, verdicts and runs
//! that begin or commit meanwhile touch none of the objects that a compaction writes, and refer to no
//! frame of an old pack that was not referred to when it looked: what holds for a sweep holds for each
//! frame here.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use crate::damage::Found;
use crate::frame::MAX_FRAMES;
use crate::ledger::Ledger;
use crate::moves::{Frame, Moves};
use crate::pack_reader::on_cpu;
use crate::store::PutNew;
use crate::{FrameRun, OwnerId, PackId, PackPrefix, PackWriter, SealedPack, Vault, VaultError};

/// Packs below this are merged when there are many of them.
const TINY: u64 = 4 << 20;

/// So many are many.
const MANY_TINY: usize = 16;

/// One list of moved frames tells of about as many bytes and frames at most.
const ROUND_BYTES: u64 = 256 << 20;
const ROUND_FRAMES: u32 = 200_000;

const FOOTERS_AT_ONCE: usize = 16;

/// What a compaction has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CompactReport {
    /// Packs that nothing refers to any more.
    pub rewritten: u64,
    /// Their bytes; sweeps remove them.
    pub bytes_before: u64,
    /// Packs that hold now what was live in them.
    pub written: u64,
    /// The bytes of those.
    pub bytes_after: u64,
    /// Packs that were left alone since something in them is damaged.
    pub left_alone: u64,
}

/// A pack that something refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pack {
    id: PackId,
    bytes: u64,
    /// Its frames, and those of them that are live: ascending, no two touch.
    frames: u32,
    live: Vec<FrameRun>,
    live_bytes: u64,
}

impl Pack {
    fn live_frames(&self) -> u32 {
        self.live.iter().map(|run| run.count).sum()
    }

    /// Many of them are merged into few.
    fn is_tiny(&self) -> bool {
        self.bytes < TINY && self.frames < MAX_FRAMES / 8
    }

    fn has_dead_frames(&self) -> bool {
        self.live_frames() < self.frames
    }
}

/// What a compaction looks at before it writes.
struct Survey {
    packs: Vec<Pack>,
    /// All packs that are there.
    there: HashSet<PackId>,
    moves: Arc<Moves>,
}

impl Vault {
    /// Rewrites packs of which less than half is live, and more of them while all packs together are a
    /// quarter larger than what is live; merges packs below 4 MiB when there are sixteen. The old packs
    /// stay until sweeps remove them. Backups and restores may run meanwhile. A sweep or another
    /// compaction of this handle is waited for.
    ///
    /// # Errors
    /// [`OwnedByAnother`](VaultError::OwnedByAnother): only the owner writes. Any manifest, sheet or pin
    /// that cannot be read: then nothing was moved. What the store says: what was moved before stays so.
    pub async fn compact(&self, owner: &OwnerId) -> Result<CompactReport, VaultError> {
        self.must_be_owned()?;
        let _alone = self.0.sweeping.lock().await;
        let mut report = CompactReport::default();
        let mut left_alone = HashSet::new();
        loop {
            // Another server may have taken the vault over since it was opened.
            self.own(owner).await?;
            let survey = self.survey(&mut left_alone).await?;
            let mut chosen = chosen(&survey.packs);
            limit(&mut chosen);
            let merges_or_shrinks =
                chosen.len() > 1 || chosen.first().is_some_and(|pack| pack.has_dead_frames());
            if !merges_or_shrinks {
                break;
            }
            let before = left_alone.len();
            let round = self.move_live(&survey, &chosen, &mut left_alone).await?;
            report.rewritten += round.rewritten;
            report.bytes_before += round.bytes_before;
            report.written += round.written;
            report.bytes_after += round.bytes_after;
            if round.rewritten == 0 && left_alone.len() == before {
                // Another one compacts this vault.
                break;
            }
        }
        // The pin of one that died protects packs that nothing will ever refer to. One of another server
        // that still works sees that it is gone, and moves nothing.
        if self.compaction_pin().await?.is_some() {
            self.remove_compaction_pin().await?;
        }
        report.left_alone = left_alone.len() as u64;
        Ok(report)
    }

    /// The order of reading is that of a sweep. Packs of runs under way are no matter of a compaction.
    async fn survey(&self, left_alone: &mut HashSet<PackId>) -> Result<Survey, VaultError> {
        let listed = self.packs().await?;
        let pinned = self.pinned().await?;
        let moves = self.moves();
        let mut live: HashMap<PackId, Vec<FrameRun>> = HashMap::new();
        let mut see = |run: &FrameRun| {
            for place in moves.places(run) {
                live.entry(place.pack).or_default().push(place);
            }
        };
        self.each_reference(&pinned, &mut see).await?;
        let looked_at = listed.iter().filter_map(|(id, bytes)| {
            let open = pinned.prefixes.contains(&id.prefix()) || left_alone.contains(id);
            let live = live.remove(id).filter(|_| !open)?;
            Some((*id, *bytes, live))
        });
        let looked_at: Vec<_> = looked_at.collect();
        let packs = stream::iter(looked_at).map(|(id, bytes, live)| self.look_at(id, bytes, live));
        let packs: Vec<Result<Pack, PackId>> =
            packs.buffered(FOOTERS_AT_ONCE).try_collect().await?;
        left_alone.extend(packs.iter().filter_map(|pack| pack.as_ref().err()));
        Ok(Survey {
            packs: packs.into_iter().flatten().collect(),
            there: listed.into_keys().collect(),
            moves,
        })
    }

    /// Adds up what is live in a pack; its id, if it is damaged.
    async fn look_at(
        &self,
        id: PackId,
        bytes: u64,
        live: Vec<FrameRun>,
    ) -> Result<Result<Pack, PackId>, VaultError> {
        let footer = match self.footer(id).await {
            Ok(footer) => footer,
            Err(error) => return Found::by(error).map(|_| Err(id)),
        };
        let live = joined(live);
        let frames = footer.frames.len() as u32;
        let mut live_bytes = 0;
        for run in &live {
            let range = run.first as usize..run.first as usize + run.count as usize;
            let Some(frames) = footer.frames.get(range) else {
                return Ok(Err(id));
            };
            live_bytes += frames.iter().map(|at| u64::from(at.stored)).sum::<u64>();
        }
        Ok(Ok(Pack {
            id,
            bytes,
            frames,
            live,
            live_bytes,
        }))
    }

    /// Copies what is live in those packs, and makes it hold.
    async fn move_live(
        &self,
        survey: &Survey,
        chosen: &[&Pack],
        left_alone: &mut HashSet<PackId>,
    ) -> Result<CompactReport, VaultError> {
        let prefix = PackPrefix::generate()?;
        self.put_compaction_pin(prefix).await?;
        let writer = PackWriter::new(self.0.keys.clone(), prefix, Arc::new(Ledger::default()))?;
        let mut copying = Copying {
            vault: self,
            writer: Some(writer),
            moved: BTreeMap::new(),
            written: Vec::new(),
            bytes: 0,
        };
        let mut report = CompactReport::default();
        for pack in chosen {
            if copying.pack(pack).await? {
                report.rewritten += 1;
                report.bytes_before += pack.bytes;
            } else {
                left_alone.insert(pack.id);
            }
        }
        copying.finish().await?;
        report.written = copying.written.len() as u64;
        report.bytes_after = copying.bytes;
        let mut there = survey.there.clone();
        there.extend(copying.written);
        let next = survey.moves.next(&copying.moved, &there)?;
        // Another compaction's pin stands over ours: it may be that nothing protects our packs.
        let ours = self.compaction_pin().await? == Some(prefix);
        if report.rewritten == 0 || !ours || !self.put_moves(next).await? {
            return Ok(CompactReport::default());
        }
        self.remove_old_moves().await?;
        self.remove_compaction_pin().await?;
        Ok(report)
    }
}

/// Which packs to rewrite.
fn chosen(packs: &[Pack]) -> Vec<&Pack> {
    let mut by_share: Vec<&Pack> = packs.iter().collect();
    let share = |pack: &Pack| pack.live_bytes as f64 / pack.bytes as f64;
    by_share.sort_by(|a, b| share(a).total_cmp(&share(b)));
    let live: u64 = packs.iter().map(|pack| pack.live_bytes).sum();
    let mut after: u64 = packs.iter().map(|pack| pack.bytes).sum();
    let tiny = packs.iter().filter(|pack| pack.is_tiny()).count() >= MANY_TINY;
    let mut chosen = Vec::new();
    for pack in by_share {
        let too_much = pack.live_bytes * 2 < pack.bytes || after * 4 > live * 5;
        if tiny && pack.is_tiny() || too_much && pack.has_dead_frames() {
            after -= pack.bytes - pack.live_bytes;
            chosen.push(pack);
        }
    }
    chosen
}

/// No more than one round moves; at least one pack.
fn limit(chosen: &mut Vec<&Pack>) {
    let (mut bytes, mut frames) = (0, 0);
    let within = chosen.iter().take_while(|pack| {
        let begun = bytes < ROUND_BYTES && frames < ROUND_FRAMES;
        bytes += pack.live_bytes;
        frames += pack.live_frames();
        begun
    });
    let within = within.count();
    chosen.truncate(within);
}

/// Runs of one pack, ascending, none of which touches another.
fn joined(mut runs: Vec<FrameRun>) -> Vec<FrameRun> {
    runs.sort_unstable();
    let mut joined: Vec<FrameRun> = Vec::new();
    for run in runs {
        match joined.last_mut() {
            Some(last) if run.first <= last.first + last.count => {
                let end = (run.first + run.count).max(last.first + last.count);
                last.count = end - last.first;
            }
            _ => joined.push(run),
        }
    }
    joined
}

struct Copying<'a> {
    vault: &'a Vault,
    /// Not there only while it works on another thread.
    writer: Option<PackWriter>,
    moved: BTreeMap<Frame, Frame>,
    written: Vec<PackId>,
    bytes: u64,
}

impl Copying<'_> {
    /// Copies the live frames of a pack. `false`: something in it is damaged, and none of them counts.
    async fn pack(&mut self, pack: &Pack) -> Result<bool, VaultError> {
        for run in &pack.live {
            let mut rest = Some(*run);
            while let Some(run) = rest {
                match self.some_frames(&run).await {
                    Ok(count) => rest = run.after(count),
                    Err(error) => {
                        let found = Found::by(error)?;
                        tracing::warn!(
                            object = found.object,
                            what = found.what,
                            "a pack is not compacted"
                        );
                        self.moved.retain(|from, _| from.0 != pack.id);
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    async fn some_frames(&mut self, run: &FrameRun) -> Result<u32, VaultError> {
        let batch = self.vault.batch_at(run).await?;
        let sealed = self.vault.fetch(&batch).await?;
        let count = batch.count();
        let mut writer = self.writer.take().ok_or_else(gone)?;
        let work = on_cpu(move || {
            let mut places = Vec::with_capacity(batch.count() as usize);
            let mut full = Vec::new();
            let mut opened = Vec::new();
            let copied = (0..batch.count()).try_for_each(|place| {
                batch.open(place, &sealed, &mut opened)?;
                places.push(writer.append_opened(&opened, batch.at(place).plain)?);
                if writer.is_full() {
                    full.extend(writer.take()?);
                }
                Ok(())
            });
            Ok((writer, places, full, copied))
        });
        let (writer, places, full, copied) = work.await?;
        self.writer = Some(writer);
        for pack in full {
            self.put(pack).await?;
        }
        copied?;
        let from = run.first..;
        for (frame, place) in from.zip(places) {
            self.moved
                .insert((run.pack, frame), (place.pack, place.frame));
        }
        Ok(count)
    }

    async fn finish(&mut self) -> Result<(), VaultError> {
        let last = self.writer.as_mut().ok_or_else(gone)?.take()?;
        match last {
            Some(pack) => self.put(pack).await,
            None => Ok(()),
        }
    }

    async fn put(&mut self, pack: SealedPack) -> Result<(), VaultError> {
        let store = &self.vault.0.store;
        let (path, bytes) = (pack.id.path(), pack.stored_bytes());
        match store
            .put_new(&path, pack.bytes, store.limits().pack)
            .await?
        {
            PutNew::Ours => {
                self.written.push(pack.id);
                self.bytes += bytes;
                Ok(())
            }
            PutNew::Other(_) => Err(VaultError::damaged(path, "another pack has its id")),
        }
    }
}

fn gone() -> VaultError {
    VaultError::Internal {
        doing: "move frames",
        why: "an earlier step failed".to_owned(),
    }
}
