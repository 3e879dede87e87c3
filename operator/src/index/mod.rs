//! The read models: what the watches told, in memory, with the look-ups that the rules need.

mod api_key_view;
mod cluster_view;
mod decided;
mod freshness;
mod guarded;
mod indexed;
mod namespace_places;
mod ssh_key_reads;
mod ssh_key_verdicts;
mod ssh_key_view;
mod watch;

pub(crate) use api_key_view::{
    contenders, digests_of_key, identity_keys, revoked_digest_of_key, waits_for_room,
};
pub(crate) use cluster_view::{
    ClusterView, api_key_keys, digest_of_key, home_key, kubernetes_name_key, owner_key, owner_of_key,
    place_of_key, uid_key, uid_of_key,
};
#[cfg(test)]
pub(crate) use freshness::STALE_AFTER;
pub(crate) use freshness::{Freshness, Seen};
pub(crate) use guarded::Guarded;
pub(crate) use indexed::{Change, Indexed};
pub(crate) use watch::{Watching, watch_into};
