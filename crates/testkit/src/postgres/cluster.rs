//! The data directory: made once for each version and flags, then copied for each test.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::installation::{Account, Installation, command};
use super::{SUPERUSER, SUPERUSER_PASSWORD};
use crate::set_up::cache;

/// How a data directory is made.
#[derive(Debug, Clone)]
pub(super) struct Recipe<'a> {
    pub(super) version: u32,
    pub(super) installation: &'a Installation,
    pub(super) account: Option<Account>,
    pub(super) flags: &'a [String],
}

impl Recipe<'_> {
    /// Copies the data directory of this recipe to `data`; the first test of a recipe makes it.
    /// All copies share one system identifier.
    pub(super) fn copy_to(&self, data: &Path) {
        let templates = cache().join("templates");
        fs::create_dir_all(&templates).expect("the cache of the tests can be written");
        let template = templates.join(self.name());
        // The lock outlives a killed test; a half-made template does not count, it has another name.
        let lock = fs::File::create(templates.join(format!("{}.lock", self.name())))
            .expect("the cache of the tests can be written");
        lock.lock().expect("a file can be locked");
        if !template.exists() {
            let unfinished = templates.join(format!("{}.new", self.name()));
            if unfinished.exists() {
                fs::remove_dir_all(&unfinished).expect("a half-made template can be removed");
            }
            fs::create_dir(&unfinished).expect("the cache of the tests can be written");
            if let Some(account) = self.account {
                account.own(&unfinished);
            }
            self.initdb(&unfinished);
            fs::rename(&unfinished, &template).expect("a template can be renamed");
        }
        lock.unlock().expect("a file can be unlocked");
        let copied = Command::new("cp")
            .args(["--archive", "--reflink=auto", "--no-target-directory"])
            .arg(&template)
            .arg(data)
            .status()
            .expect("cp can be run");
        assert!(
            copied.success(),
            "the template {} was not copied",
            template.display()
        );
    }

    /// Makes a data directory in place, with a system identifier of its own.
    pub(super) fn initdb(&self, data: &Path) {
        let password_file = data.with_extension("password");
        fs::write(&password_file, SUPERUSER_PASSWORD).expect("a password file can be written");
        if let Some(account) = self.account {
            account.own(&password_file);
        }
        let output = command(&self.installation.server_program("initdb"), self.account)
            .arg("--pgdata")
            .arg(data)
            .arg("--pwfile")
            .arg(&password_file)
            .args(self.arguments())
            .output()
            .expect("initdb can be run");
        fs::remove_file(&password_file).expect("the password file can be removed");
        assert!(
            output.status.success(),
            "initdb of PostgreSQL {} failed:\n{}{}",
            self.version,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = vec![
            format!("--username={SUPERUSER}"),
            "--encoding=UTF8".into(),
            "--locale=C".into(),
            "--auth-local=trust".into(),
            "--auth-host=scram-sha-256".into(),
            "--no-sync".into(),
        ];
        arguments.extend(self.flags.iter().cloned());
        arguments
    }

    /// Another initdb or other flags make another template.
    fn name(&self) -> String {
        let program = self.installation.server_program("initdb");
        let built = fs::metadata(&program).and_then(|m| m.modified());
        let facts = format!("{program:?} {built:?} {:?}", self.arguments());
        let hash = blake3::hash(facts.as_bytes()).to_hex();
        format!("{}-{}", self.version, &hash[..16])
    }
}
