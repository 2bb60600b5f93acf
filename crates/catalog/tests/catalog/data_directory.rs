use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use model::Fault;

use crate::world::{World, open};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn the_directory_and_its_files_are_for_their_owner_only() {
    let world = World::with_site().await;
    assert_eq!(mode(&world.data()), 0o700);
    for entry in std::fs::read_dir(world.data()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
    }
}

#[tokio::test]
async fn a_looser_directory_is_tightened_when_it_is_ours_and_refused_when_it_is_shared() {
    let world = World::new().await;
    let data = world.data();
    world.catalog.close().await;
    set_mode(&data, 0o755);
    open(&data, &world.clock).await.unwrap().close().await;
    assert_eq!(mode(&data), 0o700);

    let shared = world.directory.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    set_mode(&shared, 0o755);
    std::fs::write(shared.join("somebody.txt"), "else's").unwrap();
    let error = open(&shared, &world.clock).await.unwrap_err();
    assert_eq!(error.code(), "data-directory-exposed");
    assert!(error.hint().unwrap().contains("chmod 700"), "{error}");
    assert_eq!(mode(&shared), 0o755);
}

#[tokio::test]
async fn a_second_server_is_refused_and_told_who_is_there() {
    let world = World::with_site().await;
    let error = open(&world.data(), &world.clock).await.unwrap_err();
    assert_eq!(error.code(), "catalog-locked");
    let text = error.to_string();
    assert!(
        text.contains(&format!("process {}", std::process::id())),
        "{text}"
    );
    assert!(text.contains("since 2026-01-31T02:00:00Z"), "{text}");
    world.catalog.site(&crate::world::shop()).await.unwrap();
    let data = world.data();
    world.catalog.close().await;
    open(&data, &world.clock).await.unwrap();
}

#[tokio::test]
async fn the_identity_of_a_node_is_made_once() {
    let world = World::new().await;
    let first = world.catalog.node_id().to_owned();
    assert_eq!(world.reopened().await.catalog.node_id(), first);
    assert_ne!(World::new().await.catalog.node_id(), first);
}
