//! SSH keys over HTTP, for surfaces that tell of the same in different words: who calls, what is registered, how a key is
//! registered and how one becomes the default.
//!
//! A key is there for these surfaces when it is registered. One that only `kubectl` shows, with the reason why it is not, can
//! be deleted by its id.

mod caller;
mod default_key;
mod refusal;
mod registered;
mod registration;

pub(crate) use caller::{SshKeyApi, SshKeyCaller};
pub(crate) use default_key::make_default;
pub(crate) use refusal::Refusal;
pub(crate) use registered::{Registered, iso_milliseconds, registered};
pub(crate) use registration::{CreateSshKey, NewSshKey, register};
