//! Where `dev/test` has put what it installs.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The command that brings what is missing; every message names it.
pub(crate) const SET_UP: &str = "run `dev/test --setup-only`";

/// The same rule as in `dev/test`.
pub(crate) fn cache() -> PathBuf {
    if let Some(cache) = std::env::var_os("BACKSTAY_TEST_CACHE") {
        return cache.into();
    }
    if we_are_root() {
        return "/var/cache/backstay".into();
    }
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(base) if !base.is_empty() => PathBuf::from(base),
        _ => PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache"),
    };
    base.join("backstay")
}

/// A program of the tests that is written in Python, or that Python itself; a missing one fails the
/// test.
pub fn python_program(name: &str) -> PathBuf {
    let program = cache().join("python/bin").join(name);
    assert!(program.exists(), "no {}, {SET_UP}", program.display());
    program
}

pub(crate) fn we_are_root() -> bool {
    fs::metadata("/proc/self").expect("/proc is mounted").uid() == 0
}
