//! What is answered when a request is met.

use axum::Json;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::no_store::no_store;
use crate::api::ssh_keys::{Registered, iso_milliseconds};

/// An SSH key.
#[derive(Serialize, ToSchema)]
#[schema(as = PanelSshKey)]
pub(super) struct SshKeyObject {
    /// The key's id.
    id: String,
    /// What people call it.
    #[schema(example = "Work Laptop")]
    name: String,
    /// As `ssh-keygen -l` prints it.
    #[schema(example = "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU")]
    fingerprint: String,
    /// Type and base64, without a comment.
    #[schema(example = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl")]
    public_key: String,
    /// When it was registered.
    #[schema(format = DateTime, example = "2024-01-15T10:30:00.000Z")]
    created_at: String,
}

impl From<Registered> for SshKeyObject {
    fn from(key: Registered) -> Self {
        Self {
            id: key.id,
            name: key.name,
            fingerprint: key.fingerprint,
            public_key: key.public_key,
            created_at: iso_milliseconds(key.created),
        }
    }
}

/// One page of an account's SSH keys, the oldest first.
#[derive(Serialize, ToSchema)]
#[schema(as = PanelSshKeyPage)]
pub(super) struct SshKeyPage {
    /// Array of SSH key objects; empty beyond the last page.
    pub(super) data: Vec<SshKeyObject>,
    /// Pagination metadata.
    pub(super) pagination: Pagination,
}

/// Pagination metadata.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PanelPagination)]
pub(super) struct Pagination {
    /// The page that was asked for.
    #[schema(minimum = 1)]
    pub(super) page: u64,
    /// The most items that a page holds.
    #[schema(minimum = 1, maximum = 100)]
    pub(super) per_page: u64,
    /// How many SSH keys there are.
    pub(super) total: u64,
    /// How many pages they fill.
    pub(super) total_pages: u64,
}

/// The created SSH key object.
#[derive(Serialize, ToSchema)]
#[schema(as = PanelSshKeyCreated)]
pub(super) struct Created {
    pub(super) data: SshKeyObject,
}

/// The deletion was successful.
#[derive(Serialize, ToSchema)]
#[schema(as = PanelDeleted)]
pub(super) struct Deleted {
    /// Always true if the deletion was successful.
    pub(super) success: bool,
    /// Confirmation message.
    #[schema(example = "SSH key deleted successfully")]
    pub(super) message: &'static str,
}

pub(super) fn answer(status: StatusCode, body: impl Serialize) -> Response {
    no_store((status, Json(body)))
}
