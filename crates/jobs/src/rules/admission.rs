//! Which sites may start another execution.

use std::collections::BTreeMap;

use model::SiteId;

/// How busy a site is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Executions that run on this server.
    pub running: usize,
    /// Streams that no execution holds.
    pub free_streams: usize,
}

/// The sites that must wait: an execution needs at least one stream, and one that has only just
/// started has not taken its own yet.
pub fn busy(loads: &BTreeMap<SiteId, (Load, u32)>) -> Vec<SiteId> {
    loads
        .iter()
        .filter(|(_, (load, hard_limit))| {
            load.free_streams == 0
                || load.running >= usize::try_from(*hard_limit).unwrap_or(usize::MAX)
        })
        .map(|(site, _)| site.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_without_a_free_stream_waits() {
        let site = |name: &str| name.parse::<SiteId>().unwrap();
        let loads = BTreeMap::from([
            (
                site("idle"),
                (
                    Load {
                        running: 0,
                        free_streams: 4,
                    },
                    4,
                ),
            ),
            (
                site("half"),
                (
                    Load {
                        running: 1,
                        free_streams: 2,
                    },
                    4,
                ),
            ),
            (
                site("full"),
                (
                    Load {
                        running: 1,
                        free_streams: 0,
                    },
                    4,
                ),
            ),
            (
                site("just-started"),
                (
                    Load {
                        running: 2,
                        free_streams: 1,
                    },
                    2,
                ),
            ),
        ]);
        assert_eq!(busy(&loads), [site("full"), site("just-started")]);
    }
}
