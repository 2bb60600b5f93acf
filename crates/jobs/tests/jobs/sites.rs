use model::{ExposeSecret, Fault, FindingLevel, SiteSecrets};
use vault::{RecoveryKey, Unlock, Vault};

use crate::node::{Node, shop, site, site_definition};

#[tokio::test]
async fn vault_and_recovery_key_alone_give_every_row_after_the_data_directory_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir).await;
    node.engine.put_database("shop", shop());
    let made = node
        .jobs
        .make_site(site_definition(dir.path(), "shop"), SiteSecrets::default())
        .await
        .unwrap();
    let job = node
        .catalog()
        .create_job(&site(), &crate::node::nightly())
        .await
        .unwrap()
        .job_id;
    let (_, saveset) = node.backed_up(job).await;
    node.shut_down().await;
    std::fs::remove_dir_all(dir.path().join("data")).unwrap();

    let recovery: RecoveryKey = made.recovery_key.expose_secret().parse().unwrap();
    let url = format!("file://{}", dir.path().join("vault-shop").display());
    let (store, _) = vault::open_store(&url, &Default::default()).unwrap();
    let vault = Vault::open(store, Unlock::RecoveryKey(&recovery))
        .await
        .unwrap();
    let saveset = vault.open_saveset(saveset).await.unwrap();
    let contents = &saveset.manifest().contents;
    let engine = testkit::memory_engine::MemoryEngine::new(model::SiteType::Postgresql);
    let input = flow::RestoreInput {
        engine: std::sync::Arc::new(engine.clone()),
        connection: model::Connection::Postgresql {
            url: "postgres://new@server/postgres".to_owned(),
            password: None,
        },
        credentials: None,
        databases: vec![flow::DatabaseRestore {
            selection: contents.databases[0].selection.clone(),
            target_database: contents.databases[0].name.clone(),
        }],
        options: flow::RestoreOptions {
            as_copy: false,
            replace_existing: false,
            skip_statistics: false,
            skip_indexes: false,
        },
        streams: 2,
        limits: std::sync::Arc::new(tokio::sync::Semaphore::new(2)),
        server_execution_id: contents.execution,
        earlier: Vec::new(),
        progress: std::sync::Arc::new(model::NoProgress),
        saveset: saveset.clone(),
    };
    flow::restore(input, Default::default()).await.unwrap();
    assert_eq!(engine.contents("shop"), Some(shop().contents()));
}

#[tokio::test]
async fn a_vault_is_never_shared_by_two_sites_and_a_failed_site_leaves_no_row() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = Node::with_job(&dir).await;
    let mut second = site_definition(dir.path(), "second");
    second.vault.url = format!("file://{}", dir.path().join("vault-shop").display());
    let refused = match node.jobs.make_site(second, SiteSecrets::default()).await {
        Ok(_) => panic!("two sites share a vault"),
        Err(error) => error,
    };
    assert_eq!(refused.code(), "vault-taken");
    assert!(
        node.catalog()
            .site(&"second".parse().unwrap())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_check_looks_at_the_vault_too() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = Node::with_job(&dir).await;
    let report = node.jobs.check_site(&site()).await.unwrap();
    let vault = report.findings.iter().find(|f| f.what == "vault").unwrap();
    assert_eq!(vault.level, FindingLevel::Ok);
}

#[tokio::test]
async fn the_recovery_key_is_given_again() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir).await;
    let made = node
        .jobs
        .make_site(site_definition(dir.path(), "shop"), SiteSecrets::default())
        .await
        .unwrap();
    let again = node.jobs.recovery_key(&site()).await.unwrap();
    assert_eq!(again.expose_secret(), made.recovery_key.expose_secret());
}

#[tokio::test]
async fn the_sites_jobs_are_in_its_vault_after_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let (node, job) = Node::with_job(&dir).await;
    let (id, _) = node.backed_up(job).await;
    assert!(
        dir.path()
            .join(format!("vault-shop/catalog/{id}"))
            .is_file()
    );
}
