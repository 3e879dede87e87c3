//! The laws of trying again: always within the time limit, never a busy loop, and it ends.

use std::time::Duration;

use keyplane_credential_plugin::exchange::retry_rule::{Setback, pause_before_retry};
use proptest::prelude::*;

fn setback() -> impl Strategy<Value = Setback> {
    prop_oneof![
        Just(Setback::Unreachable),
        proptest::option::of(any::<u64>().prop_map(Duration::from_secs)).prop_map(Setback::NotReady),
    ]
}

proptest! {
    #[test]
    fn a_pause_fits_into_what_is_left_and_is_no_busy_loop(setback in setback(), attempts: u32, left: u64) {
        let left = Duration::from_millis(left);
        if let Some(pause) = pause_before_retry(setback, attempts, left) {
            prop_assert!(pause < left);
            prop_assert!(pause >= Duration::from_millis(250));
        }
    }

    #[test]
    fn the_exchange_is_never_asked_sooner_than_it_wished(seconds in 0_u64..100, attempts in 1_u32..100) {
        let asked = Duration::from_secs(seconds);
        let pause = pause_before_retry(Setback::NotReady(Some(asked)), attempts, Duration::MAX);
        prop_assert!(pause.is_some_and(|pause| pause >= asked));
    }

    #[test]
    fn a_connection_is_tried_four_times_at_most(attempts in 4_u32..) {
        prop_assert_eq!(pause_before_retry(Setback::Unreachable, attempts, Duration::MAX), None);
    }
}
