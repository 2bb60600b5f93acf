//! Tests by chance: what they do follows from a seed, which a failure prints and which can be given
//! again.

/// Whether the long forms of such tests were asked for: `BACKSTAY_LONG_TESTS=1`.
pub fn long() -> bool {
    std::env::var_os("BACKSTAY_LONG_TESTS").is_some_and(|value| value == "1")
}

/// Numbers that follow from a seed (splitmix64).
pub struct Chance {
    state: u64,
}

impl Chance {
    /// From `BACKSTAY_SEED`, else from the time; the seed is printed, which a failed test shows.
    pub fn new(what: &str) -> Chance {
        let given = std::env::var("BACKSTAY_SEED").ok();
        let seed = match given {
            Some(text) => text.parse().expect("BACKSTAY_SEED is a whole number"),
            None => {
                let now = std::time::SystemTime::now();
                let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
                since.as_nanos() as u64
            }
        };
        eprintln!("{what}: to be had again with BACKSTAY_SEED={seed}");
        Chance { state: seed }
    }

    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// One of `0..end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// One of them.
    pub fn of<'a, T>(&mut self, these: &'a [T]) -> &'a T {
        &these[self.below(these.len() as u64) as usize]
    }
}
