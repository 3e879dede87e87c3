//! The laws of a token's life: never later than the truth, never under 75 s, whatever the clocks say.

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use keyplane_credential_plugin::token::life::{LEAST_LIFE, LONGEST_LIFE, TokenLife};
use proptest::prelude::*;

/// A moment of the years 1970 to 2200, in milliseconds.
fn moment() -> impl Strategy<Value = DateTime<Utc>> {
    (0..7_258_118_400_000_i64).prop_map(|ms| DateTime::from_timestamp_millis(ms).unwrap())
}

fn any_moment() -> impl Strategy<Value = DateTime<Utc>> {
    prop_oneof![moment(), Just(DateTime::<Utc>::MIN_UTC), Just(DateTime::<Utc>::MAX_UTC)]
}

fn millis(range: std::ops::Range<i64>) -> impl Strategy<Value = TimeDelta> {
    range.prop_map(TimeDelta::milliseconds)
}

proptest! {
    #[test]
    fn the_end_is_never_later_than_the_truth_and_at_most_3_seconds_earlier_plus_the_journey(
        asked_at in moment(),
        skew in millis(-100_000_000_000..100_000_000_000),
        // A fast journey is where the date's grain shows.
        there in prop_oneof![Just(TimeDelta::zero()), millis(0..30_000)],
        life in millis(0..86_000_000),
    ) {
        // What happens: the exchange answers at `answered`, on its own clock `answered + skew`, in whole seconds.
        let answered = asked_at + there;
        let date = (answered + skew).trunc_subsecs(0);
        let expiration = (answered + skew + life).trunc_subsecs(0);
        let truth = answered + life;
        let said = TokenLife::of_answer(asked_at, Some(date), expiration).expires_at();
        prop_assert!(said <= truth.max(asked_at), "{} > {}", said, truth);
        prop_assert!(said >= truth - there - TimeDelta::seconds(3));
    }

    #[test]
    fn a_token_is_handed_out_exactly_while_75_seconds_are_left(
        asked_at in moment(),
        life in millis(0..86_400_000),
        waited in millis(0..100_000_000),
    ) {
        let token = TokenLife::of_answer(asked_at, None, asked_at + life);
        let now = asked_at + waited;
        prop_assert_eq!(token.may_be_handed_out(now), life - waited >= LEAST_LIFE);
    }

    #[test]
    fn a_token_from_the_future_is_never_handed_out(
        asked_at in moment(),
        life in millis(0..86_400_000),
        back in millis(1..100_000_000),
    ) {
        let token = TokenLife::of_answer(asked_at, None, asked_at + life);
        prop_assert!(!token.may_be_handed_out(asked_at - back));
    }

    #[test]
    fn no_clock_breaks_it(
        asked_at in any_moment(),
        date in proptest::option::of(any_moment()),
        expiration in any_moment(),
        now in any_moment(),
    ) {
        let token = TokenLife::of_answer(asked_at, date, expiration);
        prop_assert!(token.expires_at() >= asked_at);
        prop_assert!(token.expires_at().signed_duration_since(asked_at) <= LONGEST_LIFE);
        if token.may_be_handed_out(now) {
            prop_assert!(token.expires_at().signed_duration_since(now) >= LEAST_LIFE);
        }
    }
}
