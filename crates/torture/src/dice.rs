//! Chance that can be repeated.

/// Dice of one history: the same seed throws the same.
#[derive(Debug, Clone)]
pub struct Dice(fastrand::Rng);

impl Dice {
    /// Dice of that seed.
    pub fn new(seed: u64) -> Dice {
        Dice(fastrand::Rng::with_seed(seed))
    }

    /// 0 to `n` - 1.
    pub fn below(&mut self, n: usize) -> usize {
        self.0.usize(0..n.max(1))
    }

    /// `from` to `to`, both included.
    pub fn between(&mut self, from: usize, to: usize) -> usize {
        self.0.usize(from..=to)
    }

    /// True in so many of 100 throws.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// One of them, by their weights; at least one weight is not 0.
    pub fn weighted<T: Copy>(&mut self, of: &[(T, usize)]) -> T {
        let all: usize = of.iter().map(|(_, weight)| weight).sum();
        let mut thrown = self.below(all);
        for (one, weight) in of {
            match thrown.checked_sub(*weight) {
                None => return *one,
                Some(rest) => thrown = rest,
            }
        }
        of[of.len() - 1].0
    }
}
