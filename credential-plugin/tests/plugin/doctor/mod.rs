//! doctor: each fault is found by the check that it belongs to, alone, with what to do about it.

mod api_server;
mod exchange;
mod machine;
mod patient;
mod report;
