//! The vault over real stores: memory, local directories, and one that fails on request.

mod commit;
mod concurrent;
mod crash;
mod damage;
mod format;
mod musts;
mod reader;
mod recovery;
mod round_trip;
mod sample;
