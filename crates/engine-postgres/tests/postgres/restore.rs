//! Restoring: everything as the recommended role, which is no superuser.

mod drive;
mod encodings;
mod export;
mod many;
mod refusals;
mod round_trip;
mod samples;
mod saved;
mod special;
mod superuser;
