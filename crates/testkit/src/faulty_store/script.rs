//! Which call meets which fault, and the record of all calls.

use super::{Call, Fault, Operation, Rule, Times};

#[derive(Debug, Default)]
pub(super) struct Script {
    rules: Vec<(Rule, usize)>,
    /// Calls that may still be made before the crash.
    until_crash: Option<usize>,
    pub(super) calls: Vec<Call>,
}

impl Script {
    pub(super) fn add(&mut self, rule: Rule) {
        self.rules.push((rule, 0));
    }

    pub(super) fn heal(&mut self) {
        self.rules.clear();
        self.until_crash = None;
    }

    pub(super) fn crash_at(&mut self, n: usize) {
        assert!(n > 0, "calls are counted from 1");
        self.until_crash = Some(n - 1);
    }

    /// Gives the fault of this call, and whether the crash has come; a call after it is not recorded.
    pub(super) fn record(&mut self, operation: Operation, path: &str) -> (Option<Fault>, bool) {
        match &mut self.until_crash {
            Some(0) => return (None, true),
            Some(left) => *left -= 1,
            None => {}
        }
        let fault = self.fault(operation, path);
        self.calls.push(Call {
            operation,
            path: path.into(),
            fault,
        });
        (fault, false)
    }

    fn fault(&mut self, operation: Operation, path: &str) -> Option<Fault> {
        let mut found = None;
        for (rule, seen) in &mut self.rules {
            if rule.operation != operation || !fits(&rule.pattern, path) {
                continue;
            }
            *seen += 1;
            let strikes = match rule.times {
                Times::Nth(n) => *seen == n,
                Times::From(n) => *seen >= n,
                Times::Every => true,
            };
            if strikes && found.is_none() {
                found = Some(rule.fault);
            }
        }
        found
    }
}

/// `*` stands for any text.
fn fits(pattern: &str, path: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == path;
    };
    let Some(path) = path.strip_prefix(start) else {
        return false;
    };
    (0..=path.len())
        .filter(|at| path.is_char_boundary(*at))
        .any(|at| fits(rest, &path[at..]))
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, path, expected) in [
            ("packs/a", "packs/a", true),
            ("packs/a", "packs/ab", false),
            ("packs/*", "packs/aa/01", true),
            ("packs/*/0*", "packs/aa/01", true),
            ("packs/*/0*", "packs/aa/10", false),
            ("*", "", true),
            ("*.json", "vault.json", true),
            ("*.json", "vault.json.x", false),
        ] {
            assert_eq!(fits(pattern, path), expected, "{pattern} {path}");
        }
    }
}
