//! What `make up`, `make down`, `make demo` and the end of `make test` do; the program `keyplane-dev` only reads their arguments.

pub mod demo;
mod demo_http;
mod demo_steps;
mod detached;
pub mod down;
mod environment;
pub mod hold;
pub mod scan;
mod state;
pub mod up;
pub mod walkthrough;
