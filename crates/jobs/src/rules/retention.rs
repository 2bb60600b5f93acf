//! Which copies of a job go after a successful backup (contract section 4, *retention*).

use model::SavesetId;

/// A copy that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copy {
    /// Which.
    pub saveset: SavesetId,
    /// Protected from retention: never deleted, and not counted.
    pub protected: bool,
}

/// The copies to delete, oldest first: all but the newest `keep` of those that are not protected.
/// At least one copy stays, whatever `keep` says. `copies` may come in any order; a higher saveset
/// id is a newer copy.
pub fn surplus(copies: &[Copy], keep: u32) -> Vec<SavesetId> {
    let mut counted: Vec<SavesetId> = copies
        .iter()
        .filter(|copy| !copy.protected)
        .map(|copy| copy.saveset)
        .collect();
    counted.sort_unstable();
    let keep = usize::try_from(keep).unwrap_or(usize::MAX).max(1);
    counted.truncate(counted.len().saturating_sub(keep));
    counted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn copies() -> impl Strategy<Value = Vec<Copy>> {
        prop::collection::btree_map(1i64..60, any::<bool>(), 0..20).prop_map(|all| {
            all.into_iter()
                .map(|(id, protected)| Copy {
                    saveset: SavesetId::new(id).unwrap(),
                    protected,
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn the_newest_stay_and_nothing_protected_goes(copies in copies(), keep in 0u32..10) {
            let gone = surplus(&copies, keep);
            let stays: Vec<_> = copies.iter()
                .filter(|c| !c.protected && !gone.contains(&c.saveset)).map(|c| c.saveset).collect();
            let counted = copies.iter().filter(|c| !c.protected).count();
            prop_assert_eq!(stays.len(), counted.min(keep.max(1) as usize));
            prop_assert!(copies.iter().all(|c| !c.protected || !gone.contains(&c.saveset)));
            prop_assert!(gone.iter().all(|g| stays.iter().all(|s| s > g)));
        }
    }
}
