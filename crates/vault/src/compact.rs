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

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use fail::fail_point;

use crate::damage::Found;
use crate::ledger::Ledger;
use crate::moves::{Frame, Moves};
use crate::pack_reader::on_cpu;
use crate::store::PutNew;
use crate::weigh::Pack;
use crate::{FrameRun, OwnerId, PackId, PackPrefix, PackWriter, SealedPack, Vault, VaultError};

/// So many are many.
const MANY_TINY: usize = 16;

/// One list of moved frames tells of about as many bytes and frames at most.
const ROUND_BYTES: u64 = 256 << 20;
const ROUND_FRAMES: u32 = 200_000;

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
    /// Packs that are left alone, now and by later ones of this handle, since something in them is damaged.
    pub left_alone: u64,
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
        loop {
            // Another server may have taken the vault over since it was opened.
            self.own(owner).await?;
            let survey = self.survey().await?;
            let chosen = chosen(&survey.packs);
            if chosen.is_empty() {
                break;
            }
            let before = self.0.weights.left_alone();
            let round = self.move_live(&survey, &chosen).await?;
            report.rewritten += round.rewritten;
            report.bytes_before += round.bytes_before;
            report.written += round.written;
            report.bytes_after += round.bytes_after;
            if round.rewritten == 0 && self.0.weights.left_alone() == before {
                // Another one compacts this vault.
                break;
            }
        }
        // The pin of one that died protects packs that nothing will ever refer to. One of another server
        // that still works sees that it is gone, and moves nothing.
        if self.compaction_pin().await?.is_some() {
            self.remove_compaction_pin().await?;
        }
        report.left_alone = self.0.weights.left_alone();
        Ok(report)
    }

    /// The order of reading is that of a sweep. Packs of runs under way are no matter of a compaction.
    async fn survey(&self) -> Result<Survey, VaultError> {
        let listed = self.packs().await?;
        let live = self.live(self.pinned().await?).await?;
        let moves = self.moves();
        let packs = self.weigh(&listed, live).await?;
        Ok(Survey {
            packs,
            there: listed.into_keys().collect(),
            moves,
        })
    }

    /// Copies what is live in those packs, and makes it hold.
    async fn move_live(
        &self,
        survey: &Survey,
        chosen: &[&Pack],
    ) -> Result<CompactReport, VaultError> {
        let prefix = PackPrefix::generate()?;
        self.put_compaction_pin(prefix).await?;
        fail_point!("compaction::its-pin-is-put");
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
                self.0.weights.leave_alone(pack.id);
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
        fail_point!("compaction::the-moves-hold");
        self.remove_old_moves().await?;
        fail_point!("compaction::older-moves-are-removed");
        self.remove_compaction_pin().await?;
        fail_point!("compaction::its-pin-is-removed");
        Ok(report)
    }
}

/// Whether some of these packs are to be rewritten.
pub(crate) fn is_worthwhile(packs: &[Pack]) -> bool {
    !chosen(packs).is_empty()
}

/// Which packs to rewrite now.
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
    limit(&mut chosen);
    // One pack alone is not merged.
    if let [only] = &chosen[..]
        && !only.has_dead_frames()
    {
        chosen.clear();
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
                fail_point!("compaction::a-pack-is-put");
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
