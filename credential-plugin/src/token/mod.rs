//! The cluster token: how long it counts, where it is kept, and to whom it was handed.

mod bearer;
pub mod cache;
pub mod cache_folder;
pub mod hand_out;
pub mod life;
pub mod slot_family;

pub use bearer::BearerToken;
