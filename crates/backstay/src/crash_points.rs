//! In the program that tests are built with: the process dies at the place that a test names, and is
//! as impatient with a store as a test wants.
//!
//! The places are the `fail_point!`s between two writes whose order matters. A program that is
//! released has none of them, and reads no such settings.

use std::time::Duration;

use vault::StoreLimits;

/// What a test names: a place, or `<place>#<n>` for its nth passing.
const CRASH_AT: &str = "BACKSTAY_CRASH_AT";

/// Milliseconds for a call about something small.
const STORE_PATIENCE: &str = "BACKSTAY_STORE_PATIENCE";

/// How patient the server is with stores, where a test says so.
pub fn store_limits() -> StoreLimits {
    let limits = StoreLimits::default();
    let given = std::env::var(STORE_PATIENCE).ok();
    match given.and_then(|millis| millis.parse().ok()) {
        Some(millis) if fail::has_failpoints() => StoreLimits {
            small: Duration::from_millis(millis),
            pack: Duration::from_millis(millis) * 3,
            ..limits
        },
        _ => limits,
    }
}

/// Reads where to die; in a program without such places nothing.
pub fn arm() {
    if !fail::has_failpoints() {
        return;
    }
    let Ok(place) = std::env::var(CRASH_AT) else {
        return;
    };
    let (place, passing) = match place.split_once('#') {
        Some((place, n)) => (place, n.parse().unwrap_or(1)),
        None => (place.as_str(), 1_u32),
    };
    let passed = std::sync::atomic::AtomicU32::new(0);
    let armed = fail::cfg_callback(place, move || {
        // Nothing is flushed, closed or told: as with SIGKILL.
        if passed.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1 == passing {
            std::process::abort();
        }
    });
    if let Err(error) = armed {
        tracing::error!("{CRASH_AT}: {error}");
    }
}
