//! The program as its users have it: real processes, real servers, nothing looked at from inside.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "test code: a panic is a failure, and a failed test's log goes to stderr"
)]

mod adopt;
mod broken_network;
mod broken_store;
mod chance;
mod command_line;
mod configuration;
mod connections;
mod contract_live;
mod crash_points;
mod deltas;
mod demo;
mod export;
mod faults;
mod full_disk;
mod hanging;
mod http;
mod interrupted;
mod kill;
mod kill_by_chance;
mod memory;
mod openapi_tools;
mod postgres;
mod process;
mod restores;
mod rights;
mod round_trip;
mod round_trip_postgres;
mod running;
mod s3;
mod secrets;
mod selections;
mod serving;
mod silent_store;
mod slow_network;
mod trial;
mod vault_inside;
