//! What `make up`, `make down` and `make demo` do; the program `keyplane-dev` only reads their arguments.

pub mod demo;
mod demo_steps;
mod detached;
pub mod down;
mod environment;
pub mod hold;
mod state;
pub mod up;
pub mod walkthrough;
