//! In the program that tests are built with: the process dies at the place that a test names.
//!
//! The places are the `fail_point!`s between two writes whose order matters. A program that is
//! released has none of them, and reads no such setting.

/// What a test names: a place, or `<place>#<n>` for its nth passing.
const CRASH_AT: &str = "BACKSTAY_CRASH_AT";

/// Reads the setting; in a program without such places nothing.
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
