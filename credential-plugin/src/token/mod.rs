//! The cluster token: how long it counts, where it is kept, to whom it was handed, and who of many asks for it, on which way.

mod bearer;
pub mod cache;
pub mod cache_folder;
pub mod dead_slots;
pub mod failure_memory;
pub mod hand_out;
pub mod life;
pub mod obtain;
pub mod single_flight;
pub mod slot_family;
pub mod way;

pub use bearer::BearerToken;
