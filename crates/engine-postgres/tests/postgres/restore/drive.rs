//! Drives a target by hand, as flow does.

use std::sync::Arc;

use engine_postgres::{PostgresEngine, PostgresOptions};
use model::{
    Connection, Credentials, Engine, Outcome, Published, RestoreRequest, SecretString, Target,
};
use testkit::RecordedProgress;
use testkit::postgres::{Roles, SUPERUSER, SUPERUSER_PASSWORD, Server};

use super::saved::{Pieces, Saved};

/// What a restore came to.
#[derive(Debug)]
pub struct Restored {
    pub published: Published,
    pub errors: Vec<String>,
    /// Warnings of the findings; those told later are in `progress`.
    pub warned: Vec<String>,
    pub progress: Arc<RecordedProgress>,
}

/// An engine that finds the programs of that server, or newer ones.
pub fn engine(server: &Server) -> PostgresEngine {
    PostgresEngine::new(PostgresOptions {
        tool_directories: vec![server.tools_dir().to_owned()],
        ..PostgresOptions::default()
    })
}

/// As [`open`], by that server of Backstay.
pub async fn open_by(server: &Server, node: &str, request: RestoreRequest) -> Box<dyn Target> {
    let engine = PostgresEngine::new(PostgresOptions {
        tool_directories: vec![server.tools_dir().to_owned()],
        node: Some(node.to_owned()),
        ..PostgresOptions::default()
    });
    let credentials = credentials(&server.least_rights_role());
    let site = site(server);
    let target = engine.open_target(&site, Some(&credentials), request);
    target.await.unwrap()
}

/// The site as the product sees it: the role that backs up, in the database `postgres`.
pub fn site(server: &Server) -> Connection {
    let roles = server.least_rights_role();
    Connection::Postgresql {
        url: server.url("postgres", roles.backup),
        password: Some(SecretString::from(roles.password)),
    }
}

/// The credentials that a restore brings.
pub fn credentials(roles: &Roles) -> Credentials {
    Credentials {
        user: roles.restore.to_owned(),
        password: SecretString::from(roles.password),
    }
}

/// A target, opened with the restoring role's credentials.
pub async fn open(server: &Server, request: RestoreRequest) -> Outcome<Box<dyn Target>> {
    let credentials = credentials(&server.least_rights_role());
    engine(server)
        .open_target(&site(server), Some(&credentials), request)
        .await
}

/// As [`restore`], with a superuser's rights.
pub async fn restore_as_superuser(server: &Server, saved: &Saved, name: &str) -> Outcome<Restored> {
    let progress = Arc::new(RecordedProgress::new());
    let request = saved.request(name, Arc::clone(&progress) as _);
    let superuser = Credentials {
        user: SUPERUSER.to_owned(),
        password: SecretString::from(SUPERUSER_PASSWORD),
    };
    let engine = engine(server);
    let site = site(server);
    let target = engine.open_target(&site, Some(&superuser), request);
    to_the_end(target.await?, saved, progress).await
}

/// As [`restore`], with the programs that fit another server.
pub async fn restore_with_tools_of(
    tools: &Server,
    server: &Server,
    saved: &Saved,
    name: &str,
) -> Outcome<Restored> {
    let progress = Arc::new(RecordedProgress::new());
    let request = saved.request(name, Arc::clone(&progress) as _);
    let credentials = credentials(&server.least_rights_role());
    let (engine, site) = (engine(tools), site(server));
    let target = engine.open_target(&site, Some(&credentials), request);
    to_the_end(target.await?, saved, progress).await
}

/// All steps up to publish, with two loaders side by side.
pub async fn restore(
    server: &Server,
    saved: &Saved,
    change: impl FnOnce(&mut RestoreRequest),
    name: &str,
) -> Outcome<Restored> {
    let progress = Arc::new(RecordedProgress::new());
    let mut request = saved.request(name, Arc::clone(&progress) as _);
    change(&mut request);
    to_the_end(open(server, request).await?, saved, progress).await
}

async fn to_the_end(
    mut target: Box<dyn Target>,
    saved: &Saved,
    progress: Arc<RecordedProgress>,
) -> Outcome<Restored> {
    match steps(&mut *target, saved).await {
        Ok((warned, errors)) => Ok(Restored {
            published: target.publish().await?,
            errors,
            warned,
            progress,
        }),
        Err(error) => {
            target.discard().await?;
            Err(error)
        }
    }
}

async fn steps(target: &mut dyn Target, saved: &Saved) -> Outcome<(Vec<String>, Vec<String>)> {
    let found = target.findings().await?;
    assert_eq!(found, target.findings().await?, "looking changes nothing");
    target.prepare().await?;
    load(target, saved).await?;
    let mut errors = target.build(2).await?.errors;
    errors.extend(target.postscript().await?.errors);
    Ok((found.warnings, errors))
}

/// Loads every range; two streams take turns, so that they are in one table at once.
pub async fn load(target: &mut dyn Target, saved: &Saved) -> Outcome<()> {
    let mut first = target.loader().await?;
    let mut second = target.loader().await?;
    let wanted = saved.ranges.iter();
    let wanted: Vec<_> = wanted
        .filter(|(task, _)| target.wants(task.table))
        .collect();
    let take = |place: usize| wanted.iter().skip(place).step_by(2).copied();
    let one = async {
        for (task, bytes) in take(0) {
            let loaded = first.load(task, &mut Pieces(bytes.clone(), 1000)).await?;
            assert_eq!(loaded, task.rows, "{task:?}");
        }
        Outcome::Ok(())
    };
    let other = async {
        for (task, bytes) in take(1) {
            let loaded = second
                .load(task, &mut Pieces(bytes.clone(), 70_000))
                .await?;
            assert_eq!(loaded, task.rows, "{task:?}");
        }
        Outcome::Ok(())
    };
    let (one, other) = tokio::join!(one, other);
    one?;
    other
}
