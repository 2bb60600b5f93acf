//! Restoring: everything as the recommended role, which is no superuser.

mod chosen;
mod drive;
mod encodings;
mod export;
mod left_out;
mod many;
mod refusals;
mod round_trip;
mod samples;
mod saved;
mod special;
mod superuser;
