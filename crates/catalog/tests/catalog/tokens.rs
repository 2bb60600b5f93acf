use model::{ExposeSecret, Fault, SecretString};

use crate::world::World;

#[tokio::test]
async fn the_first_token_is_the_one_given_and_later_ones_are_not_looked_at() {
    let world = World::new().await;
    let given = SecretString::from("given-token");
    assert!(
        world
            .catalog
            .first_token(Some(&given))
            .await
            .unwrap()
            .is_none()
    );
    let later = SecretString::from("another-token");
    assert!(
        world
            .catalog
            .first_token(Some(&later))
            .await
            .unwrap()
            .is_none()
    );
    assert!(world.catalog.first_token(None).await.unwrap().is_none());
    let world = world.reopened().await;
    let admin = world
        .catalog
        .verify_token("given-token")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((admin.name.as_str(), admin.administrator), ("admin", true));
    for wrong in ["another-token", "given-toke", "given-token ", ""] {
        assert!(
            world.catalog.verify_token(wrong).await.unwrap().is_none(),
            "{wrong:?}"
        );
    }
}

#[tokio::test]
async fn without_a_given_token_one_is_made_and_shown_once() {
    let world = World::new().await;
    let made = world.catalog.first_token(None).await.unwrap().unwrap();
    assert_eq!(made.expose_secret().len(), 64);
    assert!(world.catalog.first_token(None).await.unwrap().is_none());
    assert!(
        world
            .catalog
            .verify_token(made.expose_secret())
            .await
            .unwrap()
            .is_some()
    );
    let other = World::new()
        .await
        .catalog
        .first_token(None)
        .await
        .unwrap()
        .unwrap();
    assert_ne!(made.expose_secret(), other.expose_secret());
}

#[tokio::test]
async fn a_token_that_no_header_can_carry_is_refused() {
    let world = World::new().await;
    for bad in ["", "two words", "ümlaut", "line\nbreak"] {
        let error = world
            .catalog
            .first_token(Some(&SecretString::from(bad)))
            .await
            .unwrap_err();
        assert_eq!(error.code(), "unusable-token");
    }
    assert!(world.catalog.first_token(None).await.unwrap().is_some());
}
