//! Damage as a product: action × place. Whatever happens to an object, reading the saveset either
//! gives what was written or an error that names the object; and what is damaged gives the error.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use model::{Blame, Fault};
use object_store::ObjectStore;
use vault::{SavesetState, Vault, VaultError};

use crate::sample::{
    self, FRAME, Keys, content, execution, local, memory, objects, put, remove, saveset_id,
};

pub struct Scene {
    store: Arc<dyn ObjectStore>,
    keys: Keys,
    packs: BTreeMap<String, Bytes>,
    manifests: BTreeMap<String, Bytes>,
}

/// Two savesets of one vault.
async fn scene() -> Scene {
    scene_in(memory()).await
}

pub async fn scene_in(store: Arc<dyn ObjectStore>) -> Scene {
    let keys = Keys::new();
    let vault = keys.create(store.clone()).await;
    for number in [1, 2] {
        let saveset = sample::write(&vault, number, 10 * number as u64)
            .await
            .unwrap();
        assert_eq!(saveset.id(), saveset_id(number));
    }
    let packs = objects(&*store, "packs").await;
    let manifests = objects(&*store, "manifests").await;
    assert_eq!((packs.len(), manifests.len()), (6, 2));
    Scene {
        store,
        keys,
        packs,
        manifests,
    }
}

impl Scene {
    /// Opened anew each time: a footer that was read before the damage proves nothing.
    async fn vault(&self) -> Vault {
        self.keys.open(self.store.clone()).await.unwrap()
    }

    async fn damaged(&self, path: &str, body: impl Into<Bytes>, what: &str) {
        put(&*self.store, path, body.into()).await;
        self.refused(path, what).await;
        let whole = self.packs.get(path).or(self.manifests.get(path)).unwrap();
        put(&*self.store, path, whole.clone()).await;
    }

    /// Exactly the saveset that refers to the object is refused, and the error names the object.
    async fn refused(&self, path: &str, what: &str) {
        let vault = self.vault().await;
        let mut refusals = Vec::new();
        for number in [1, 2] {
            match sample::read(&vault, saveset_id(number)).await {
                Ok(found) => assert!(
                    found == content(10 * number as u64),
                    "{what}: other content"
                ),
                Err(error) => refusals.push(error),
            }
        }
        assert_eq!(refusals.len(), 1, "{path}: {what}: {refusals:?}");
        let error = &refusals[0];
        assert!(error.to_string().contains(path), "{path}: {what}: {error}");
        let named = matches!(
            error,
            VaultError::Damaged { .. }
                | VaultError::FrameDamaged { .. }
                | VaultError::Missing { .. }
                | VaultError::NewerFormat { .. }
                | VaultError::TooLarge { .. }
        );
        assert!(named, "{path}: {what}: {error:?}");
    }

    fn each(&self) -> impl Iterator<Item = (&String, &Bytes)> {
        self.packs.iter().chain(&self.manifests)
    }

    /// The packs of exactly two frames: rows of one length, so that their frames are of one size.
    fn packs_of_two(&self) -> Vec<(&String, &Bytes)> {
        let frames = |body: &Bytes| body[body.len() - 60];
        let packs: Vec<_> = self
            .packs
            .iter()
            .filter(|(_, body)| frames(body) == 2)
            .collect();
        assert_eq!(packs.len(), 2);
        packs
    }
}

/// Bytes of each frame of a pack of two equal ones: what is left beside footer and trailer.
fn sealed_frame(body: &Bytes) -> usize {
    let frames = body.len() - 64 - (2 * 8 + 16);
    assert!(frames > 2 * FRAME && frames.is_multiple_of(2));
    frames / 2
}

#[tokio::test]
async fn must_3_any_bit_flipped_in_a_pack_a_sheet_or_a_manifest_is_refused() {
    let scene = scene().await;
    for (path, body) in scene.each() {
        for at in 0..body.len() {
            // Headers, footers and trailers bit by bit in turn, the middle in steps.
            if at > 96 && at + 160 < body.len() && at % 13 != 0 {
                continue;
            }
            let mut flipped = body.to_vec();
            flipped[at] ^= 1 << (at % 8);
            scene
                .damaged(path, flipped, &format!("a bit of byte {at}"))
                .await;
        }
    }
}

#[tokio::test]
async fn must_3_anything_cut_short_emptied_lengthened_or_removed_is_refused() {
    cut_and_lengthen(scene().await).await;
}

#[tokio::test]
async fn must_3_anything_cut_short_or_removed_in_a_local_directory_is_refused() {
    let (_place, store) = local();
    cut_and_lengthen(scene_in(store).await).await;
}

async fn cut_and_lengthen(scene: Scene) {
    for (path, body) in scene.each() {
        let length = body.len();
        for cut in [
            0,
            1,
            8,
            63,
            64,
            65,
            length / 2,
            length - 64,
            length - 17,
            length - 1,
        ] {
            scene
                .damaged(path, body.slice(..cut), &format!("cut to {cut}"))
                .await;
        }
        scene
            .damaged(path, body.slice(1..), "its first byte cut")
            .await;
        for extra in [1, 64, 1000] {
            let longer = [&**body, &vec![0; extra]].concat();
            scene
                .damaged(path, longer, &format!("{extra} more bytes"))
                .await;
            let longer = [&vec![0; extra], &**body].concat();
            scene
                .damaged(path, longer, &format!("{extra} bytes in front"))
                .await;
        }
        scene.damaged(path, vec![0; length], "all zeros").await;
    }
    removed(&scene).await;
}

async fn removed(scene: &Scene) {
    for (path, body) in &scene.packs {
        remove(&*scene.store, path).await;
        scene.refused(path, "removed").await;
        put(&*scene.store, path, body.clone()).await;
    }
}

/// A sample of it, for stores where each call takes its time.
pub async fn cut_or_removed(scene: &Scene) {
    for (path, body) in scene.each() {
        for cut in [0, body.len() / 2] {
            scene
                .damaged(path, body.slice(..cut), &format!("cut to {cut}"))
                .await;
        }
    }
    removed(scene).await;
}

#[tokio::test]
async fn must_3_a_pack_under_another_packs_name_is_refused() {
    let scene = scene().await;
    for (path, own) in &scene.packs {
        for (other, body) in &scene.packs {
            if path != other {
                assert_ne!(own, body);
                scene
                    .damaged(path, body.clone(), &format!("it is {other}"))
                    .await;
            }
        }
        let manifest = scene.manifests.values().next().unwrap();
        scene
            .damaged(path, manifest.clone(), "it is a manifest")
            .await;
    }
}

#[tokio::test]
async fn must_3_a_manifest_under_another_savesets_name_is_refused() {
    let scene = scene().await;
    let (one, two) = (
        &scene.manifests["manifests/1"],
        &scene.manifests["manifests/2"],
    );
    scene
        .damaged("manifests/1", two.clone(), "it is manifest 2")
        .await;
    scene
        .damaged("manifests/2", one.clone(), "it is manifest 1")
        .await;
    let pack = scene.packs.values().next().unwrap();
    scene
        .damaged("manifests/1", pack.clone(), "it is a pack")
        .await;
}

#[tokio::test]
async fn must_3_frames_swapped_or_moved_within_a_pack_or_to_another_are_refused() {
    let scene = scene().await;
    let packs = scene.packs_of_two();
    for (this, that) in [(0, 1), (1, 0)] {
        let ((path, body), (other_path, other)) = (packs[this], packs[that]);
        let size = sealed_frame(body);
        assert_eq!(size, sealed_frame(other));
        let (first, second) = (&body[..size], &body[size..2 * size]);
        let rest = &body[2 * size..];
        let others_second = &other[size..2 * size];
        for (frames, what) in [
            (vec![second, first], "frames 0 and 1 swapped".to_owned()),
            (vec![first, first], "frame 0 over frame 1".to_owned()),
            (vec![second, second], "frame 1 over frame 0".to_owned()),
            (
                vec![first, others_second],
                format!("frame 1 of {other_path}"),
            ),
            (
                vec![others_second, second],
                format!("frame 1 of {other_path} as frame 0"),
            ),
            (vec![first], "frame 1 cut out".to_owned()),
            (vec![first, first, second], "frame 0 twice".to_owned()),
        ] {
            let body = [&frames.concat(), rest].concat();
            scene.damaged(path, body, &what).await;
        }
        let strange = [first, second, &other[2 * size..]].concat();
        scene
            .damaged(path, strange, &format!("the footer of {other_path}"))
            .await;
    }
}

#[tokio::test]
async fn must_3_a_saveset_of_another_vault_is_refused() {
    let scene = scene().await;
    let other = self::scene().await;
    scene
        .damaged(
            "manifests/1",
            other.manifests["manifests/1"].clone(),
            "another vault's",
        )
        .await;
    let path = scene.packs.keys().next().unwrap();
    let body = other.packs.values().next().unwrap();
    scene.damaged(path, body.clone(), "another vault's").await;
}

#[tokio::test]
async fn a_frame_is_named_by_pack_and_number() {
    let scene = scene().await;
    let (path, body) = scene.packs_of_two()[0];
    let mut flipped = body.to_vec();
    flipped[sealed_frame(body) + 100] ^= 4;
    put(&*scene.store, path, flipped.into()).await;
    let vault = scene.vault().await;
    let mut errors = Vec::new();
    for id in [saveset_id(1), saveset_id(2)] {
        errors.extend(sample::read(&vault, id).await.err());
    }
    assert_eq!(errors.len(), 1, "{errors:?}");
    for error in errors {
        assert!(
            error
                .to_string()
                .contains(&format!("{path} in the vault is damaged: frame 1:"))
        );
        assert_eq!(
            (error.code(), error.blame()),
            ("vault-damaged", Blame::Damaged)
        );
        assert!(error.hint().is_some());
    }
}

#[tokio::test]
async fn a_damaged_manifest_is_a_state_of_its_own_and_hides_no_other() {
    let scene = scene().await;
    let mut flipped = scene.manifests["manifests/1"].to_vec();
    flipped[9] ^= 3;
    put(&*scene.store, "manifests/1", flipped.into()).await;
    let states = scene.vault().await.saveset_states().await.unwrap();
    let [(_, one), (_, two)] = states.iter().collect::<Vec<_>>()[..] else {
        panic!("{states:?}");
    };
    // A manifest whose kind was turned into a tombstone's is no tombstone.
    assert!(
        matches!(one, SavesetState::Damaged(why) if why.contains("manifests/1")),
        "{one:?}"
    );
    assert_eq!(*two, SavesetState::Committed);
}

#[tokio::test]
async fn must_3_a_tombstone_under_another_savesets_name_kills_nothing() {
    let scene = scene().await;
    let vault = scene.vault().await;
    vault
        .declare_dead(saveset_id(3), "it was aborted")
        .await
        .unwrap();
    let tombstone = objects(&*scene.store, "manifests").await["manifests/3"].clone();
    put(&*scene.store, "manifests/1", tombstone).await;
    let states = vault.saveset_states().await.unwrap();
    assert!(
        matches!(states[&saveset_id(1)], SavesetState::Damaged(_)),
        "{states:?}"
    );
    scene.refused("manifests/1", "it is tombstone 3").await;
    // What cannot be read is neither dropped nor declared dead.
    for error in [
        vault.drop_saveset(saveset_id(1)).await.err(),
        vault.declare_dead(saveset_id(1), "x").await.err(),
    ] {
        assert!(error.unwrap().to_string().contains("manifests/1"));
    }
}

#[tokio::test]
async fn a_damaged_pin_stops_new_runs_by_name_but_no_verdict() {
    let scene = scene().await;
    let vault = scene.vault().await;
    let writer = vault.begin(execution(8, 1), None).await.unwrap();
    let id = writer.saveset_id();
    drop(vault.begin(execution(9, 1), None).await.unwrap());
    let mut pin = objects(&*scene.store, "pins").await["pins/9"].to_vec();
    pin[70] ^= 1;
    put(&*scene.store, "pins/9", pin.into()).await;
    let error = vault.begin(execution(10, 1), None).await.err().unwrap();
    assert!(error.to_string().contains("pins/9"), "{error}");
    assert!(error.hint().unwrap().contains("delete"), "{error}");
    vault.declare_dead(id, "it was aborted").await.unwrap();
    let left: Vec<String> = objects(&*scene.store, "pins").await.into_keys().collect();
    assert_eq!(left, ["pins/9"]);
}
