//! The sweep: removes the packs that nothing refers to any more, in two phases.
//!
//! A pack that nothing refers to first gets a mark, `deleted/<pack>`; a later sweep removes it when
//! the mark is older than the grace period and still nothing refers to it.
//!
//! Why no run loses a pack, whenever it begins. The sweep lists the packs, then reads the pins, then
//! the manifests, and lists the manifests again until a listing, at a moment T, shows none that it
//! has not read. Let P be a listed pack.
//!
//! * A manifest that is there at T was there when it was read: manifests only ever become
//!   tombstones. So everything that is committed at T has been counted.
//! * The run that wrote P had put its pin before P, and P was listed before the pins were read. If
//!   the pin was gone by then, the run was settled by then, and its manifest has been counted. Else
//!   the pin's prefix protects P.
//! * A run that builds on a base refers to packs of that base. Its base is a manifest as long as the
//!   run is pinned (a drop refuses), so at T it has been counted, whether or not the run's pin had
//!   been seen. Where a pin was seen and its base is gone all the same, the sweep deletes nothing.
//! * A run that begins after T builds on what is a manifest then: by the same three points its packs
//!   are counted at T, or are not in the list.
//!
//! * Frames that a compaction moved are looked for where they lie now. Its new packs lie under its pin
//!   until its list holds, and the lists are read behind the pins: a pack of a compaction that is listed is
//!   protected by one or the other. What it moved frames away from nothing refers to any more.
//!
//! So what is not referred to at T never will be again. The grace period protects those who read
//! without a pin: a restore or an export that opened its saveset before it was dropped.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use fail::fail_point;

use crate::compact::is_worthwhile;
use crate::ids::random;
use crate::store::PutNew;
use crate::weigh::Live;
use crate::{OwnerId, PackId, Vault, VaultError};

/// What is in a mark: only its name and its age count.
const MARK: &[u8] = b"{\"format\":1}\n";

/// What a sweep has seen and done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Packs that were in the vault when it began.
    pub packs: u64,
    /// Those of them that a manifest or a pin refers to.
    pub live: u64,
    /// Those that nothing refers to and that got their mark now.
    pub marked: u64,
    /// Those that have a mark which is younger than the grace period.
    pub waiting: u64,
    /// Those that are removed now.
    pub removed: u64,
    /// Bytes of the removed ones.
    pub bytes_freed: u64,
    /// Bytes of those that a manifest or a pin refers to.
    pub bytes_kept: u64,
    /// Bytes of what manifests refer to in them.
    pub bytes_live: u64,
    /// [`Vault::compact`] has something to do: so little of some packs is live, so many are tiny, or an
    /// earlier one has died.
    pub wants_compaction: bool,
}

/// The packs of a vault, each with its size, and the marks.
struct Found {
    packs: BTreeMap<PackId, u64>,
    /// When each mark was put, by the store's clock, in microseconds.
    marks: BTreeMap<PackId, i64>,
    /// What the store's clock says.
    now: i64,
}

impl Vault {
    /// Marks the packs that nothing refers to, and removes those whose mark is older than `grace`
    /// by the store's clock. A backup may run or begin meanwhile. A second sweep of this handle
    /// waits for the first.
    ///
    /// # Errors
    /// [`OwnedByAnother`](VaultError::OwnedByAnother): only the owner sweeps. Any manifest, sheet or
    /// pin that cannot be read, a pack that is referred to and missing, and
    /// [`BaseGone`](VaultError::BaseGone): then nothing was deleted.
    /// What the store says.
    pub async fn sweep(&self, owner: &OwnerId, grace: Duration) -> Result<SweepReport, VaultError> {
        self.must_be_owned()?;
        let _alone = self.0.sweeping.lock().await;
        // Another server may have taken the vault over since it was opened.
        self.own(owner).await?;
        let found = self.found().await?;
        let pinned = self.pinned().await?;
        // None runs beside a sweep: it died, and the next one takes its pin away.
        let died = pinned.compaction;
        let live = self.live(pinned).await?;
        self.nothing_is_missing(&found, &live).await?;
        let holds = found.packs.keys().filter(|pack| live.holds(**pack));
        let held: HashSet<PackId> = holds.copied().collect();
        let weighed = self.weigh(&found.packs, live).await?;
        // From here on everything has been read: only now something changes.
        self.unmark(&found, &held).await?;
        let mut report = self.mark_and_remove(&found, &held, grace).await?;
        report.bytes_live = weighed.iter().map(|pack| pack.live_bytes).sum();
        report.wants_compaction = died || is_worthwhile(&weighed);
        Ok(report)
    }

    /// Marks of packs that are referred to, or not there any more, go first: should a later sweep
    /// find such a pack dead, its grace period begins anew.
    async fn unmark(&self, found: &Found, held: &HashSet<PackId>) -> Result<(), VaultError> {
        for pack in found.marks.keys() {
            if held.contains(pack) || !found.packs.contains_key(pack) {
                self.0.store.delete(&mark_path(*pack)).await?;
            }
        }
        Ok(())
    }

    async fn mark_and_remove(
        &self,
        found: &Found,
        held: &HashSet<PackId>,
        grace: Duration,
    ) -> Result<SweepReport, VaultError> {
        let store = &self.0.store;
        let grace = i64::try_from(grace.as_micros()).unwrap_or(i64::MAX);
        let mut report = SweepReport::default();
        for (pack, bytes) in &found.packs {
            report.packs += 1;
            if held.contains(pack) {
                report.live += 1;
                report.bytes_kept += bytes;
                continue;
            }
            match found.marks.get(pack) {
                None => {
                    let mark = Bytes::from_static(MARK);
                    let limit = store.limits().small;
                    // One that is there already is as good: its age counts from when it was put.
                    let (PutNew::Ours | PutNew::Other(_)) =
                        store.put_new(&mark_path(*pack), mark, limit).await?;
                    fail_point!("vault::a-pack-is-marked");
                    report.marked += 1;
                }
                Some(since) if found.now.saturating_sub(*since) >= grace => {
                    store.delete(&pack.path()).await?;
                    fail_point!("vault::a-pack-is-removed");
                    store.delete(&mark_path(*pack)).await?;
                    fail_point!("vault::a-mark-is-removed");
                    report.removed += 1;
                    report.bytes_freed += bytes;
                }
                Some(_) => report.waiting += 1,
            }
        }
        Ok(report)
    }

    /// The store's time, the marks, and then the packs.
    async fn found(&self) -> Result<Found, VaultError> {
        let store = &self.0.store;
        let now = self.store_time().await?;
        let marks = store.list_below("deleted", |name, object| {
            Some((name.parse().ok()?, object.last_modified.timestamp_micros()))
        });
        let marks = marks.await?.into_iter().collect();
        Ok(Found {
            packs: self.packs().await?,
            marks,
            now,
        })
    }

    /// What the store's clock says, in microseconds: when an object was written that is put now.
    async fn store_time(&self) -> Result<i64, VaultError> {
        let store = &self.0.store;
        let name = hex::encode(random::<16>()?);
        let path = format!("probe/{name}");
        store.put_over(&path, Bytes::from_static(MARK)).await?;
        let listed = store.list_below("probe", |listed, object| {
            (listed == name).then(|| object.last_modified.timestamp_micros())
        });
        let listed = listed.await;
        store.delete(&path).await?;
        listed?
            .first()
            .copied()
            .ok_or_else(|| VaultError::ProbeFailed {
                place: store.place(),
                what: format!("{path} is not listed after it was written"),
            })
    }

    /// A pack that is referred to and not there is a damage: what else is not there is not known then,
    /// nor is it what of the vault may be needed to mend it.
    async fn nothing_is_missing(&self, found: &Found, live: &Live) -> Result<(), VaultError> {
        let unlisted = |pack: &&PackId| !found.packs.contains_key(pack);
        if !live.frames.keys().any(|pack| unlisted(&pack)) {
            return Ok(());
        }
        // Some may be of runs that have committed since.
        let now = self.packs().await?;
        let missing = live
            .frames
            .keys()
            .filter(unlisted)
            .find(|pack| !now.contains_key(pack));
        match missing {
            Some(pack) => Err(VaultError::Missing { path: pack.path() }),
            None => Ok(()),
        }
    }
}

fn mark_path(pack: PackId) -> String {
    format!("deleted/{pack}")
}
