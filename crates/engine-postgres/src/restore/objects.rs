//! Objects that are put into a database that is there.
//!
//! They are made, filled and indexed in *working schemas* of that database. Then one transaction
//! moves what stood at their names into *kept schemas*, whose names say when and why, and them to
//! their names. What hung on the old ones (others' foreign keys, views, defaults, policies,
//! publications) hangs on the new ones after it.

pub(super) mod keys;
pub(super) mod old;
pub(super) mod steps;
pub(super) mod swap;
pub(super) mod working;
