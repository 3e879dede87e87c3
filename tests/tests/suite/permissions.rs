//! The shipped permissions: what they must never hold, what they come to on a real API server, and what the admission
//! policies keep them to.

mod access_reviews;
mod attempt;
mod key_roles;
mod laws;
mod policies_on_api_declaring;
mod policies_on_delivery;
mod policies_on_derived;
mod policies_on_identities;
mod policies_on_keyplane;
mod policies_on_tenants;
mod policies_on_the_api;
mod type_checks;
