//! What API replicas write down about keys: exact, bounded, and together with what others write.

mod denials;
mod flood;
mod gate;
mod replicas;
mod stage;
