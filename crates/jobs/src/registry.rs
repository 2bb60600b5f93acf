//! Which engine serves which kind of site.

use std::collections::HashMap;
use std::sync::Arc;

use model::{Engine, SiteType};

use crate::JobsError;

/// The engines of this server.
#[derive(Clone, Default)]
pub struct Registry {
    engines: HashMap<SiteType, Arc<dyn Engine>>,
}

impl Registry {
    /// One that knows no engine.
    pub fn new() -> Self {
        Registry::default()
    }

    /// The same with one engine more; a later one of the same kind takes its place.
    #[must_use]
    pub fn with(mut self, engine: Arc<dyn Engine>) -> Self {
        self.engines.insert(engine.site_type(), engine);
        self
    }

    /// The engine for that kind of site.
    ///
    /// # Errors
    /// When this server was built without it.
    pub fn engine(&self, site_type: SiteType) -> Result<Arc<dyn Engine>, JobsError> {
        self.engines
            .get(&site_type)
            .cloned()
            .ok_or(JobsError::NoEngine(site_type))
    }
}
