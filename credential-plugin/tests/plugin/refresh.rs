//! Early refresh: one start asks for the next token in time, nobody waits for it, and its failure costs nothing.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta};
use keyplane_credential_plugin::token::life::{LEAST_LIFE, TokenLife};
use proptest::prelude::*;
use serde_json::json;

use crate::parallel::{Starts, outputs, token, until};
use crate::stage::{Stage, credential, failure};
use crate::stand_in::{Reply, StandIn, now};

const LIFE: TimeDelta = TimeDelta::minutes(10);

/// A stage on which a token is cached, the exchange's first, that lives for as long again.
fn with_a_token_that_ends_in(stage: &Stage, exchange: &StandIn, left: TimeDelta) {
    let first = credential(&stage.get_token(exchange).output().unwrap());
    assert_eq!(first["status"]["token"], "token-1");
    let (obtained_at, expires_at) = (now() - LIFE + left, now() + left);
    stage.edit_cached("json", |entry| {
        entry["life"] = json!({"obtainedAt": obtained_at, "expiresAt": expires_at});
    });
}

fn ask(stage: &Stage, exchange: &StandIn) -> String {
    let credential = credential(&stage.get_token(exchange).output().unwrap());
    credential["status"]["token"].as_str().unwrap().to_owned()
}

/// An exchange that gives one token, and then answers as the script says.
fn once(then: impl Fn(usize) -> Reply + Send + Sync + 'static) -> StandIn {
    StandIn::tls(move |count| if count == 1 { token("token-1", LIFE) } else { then(count) })
}

#[test]
fn one_start_asks_for_the_next_token_and_the_others_have_the_cached_one_at_once() {
    let stage = Stage::new();
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let exchange = once(move |count| {
        let _ = released.lock().unwrap().recv();
        token(&format!("token-{count}"), LIFE)
    });
    with_a_token_that_ends_in(&stage, &exchange, TimeDelta::seconds(120));
    let starts = Starts::new(&stage, &exchange, &[]);
    let started = Instant::now();
    let refreshing = starts.start();
    until("it asks", || exchange.asked().len() == 2);
    for output in outputs(starts.many(10)) {
        assert_eq!(credential(&output)["status"]["token"], "token-1");
    }
    release.send(()).unwrap();
    let refreshed = credential(&outputs(vec![refreshing])[0]);
    // On a busy machine the short limit may be over: then the cached token counted, and another start may have asked.
    println!("the start that refreshed has {}", refreshed["status"]["token"]);
    assert!(exchange.asked().len() as u64 <= 2 + started.elapsed().as_secs() / 3);
}

#[test]
fn in_the_last_quarter_the_next_token_is_got_and_before_it_is_not() {
    let stage = Stage::new();
    let exchange = once(|count| token(&format!("token-{count}"), LIFE));
    with_a_token_that_ends_in(&stage, &exchange, TimeDelta::seconds(300));
    assert_eq!((ask(&stage, &exchange).as_str(), exchange.asked().len()), ("token-1", 1));
    stage.edit_cached("json", |entry| entry["life"]["expiresAt"] = json!(now() + TimeDelta::seconds(90)));
    for _ in 0..3 {
        assert_eq!((ask(&stage, &exchange).as_str(), exchange.asked().len()), ("token-2", 2));
    }
}

#[test]
fn an_early_refresh_that_fails_is_silent_and_rests_and_says_nothing_to_who_has_no_token() {
    let stage = Stage::new();
    let exchange = once(|_| Reply::problem(500, "broken"));
    with_a_token_that_ends_in(&stage, &exchange, TimeDelta::seconds(100));
    let started = Instant::now();
    for _ in 0..5 {
        assert_eq!(ask(&stage, &exchange), "token-1");
    }
    let asked = exchange.asked().len() as u64;
    assert!((2..=2 + started.elapsed().as_secs()).contains(&asked), "{asked}");
    stage.edit_cached("failed", |entry| {
        entry["failure"]["until"] = json!(now() + TimeDelta::seconds(10));
    });
    assert_eq!(ask(&stage, &exchange), "token-1");
    assert_eq!(exchange.asked().len() as u64, asked, "it rests");
    std::fs::remove_file(stage.cache_file()).unwrap();
    failure(&stage.get_token(&exchange).output().unwrap(), 8);
    assert_eq!(exchange.asked().len() as u64, asked + 1);
}

#[test]
fn an_exchange_that_hangs_holds_an_early_refresh_up_for_a_short_time_only() {
    let stage = Stage::new();
    let (_release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let exchange = once(move |count| {
        let _ = released.lock().unwrap().recv();
        token(&format!("token-{count}"), LIFE)
    });
    with_a_token_that_ends_in(&stage, &exchange, TimeDelta::seconds(140));
    let started = Instant::now();
    assert_eq!(ask(&stage, &exchange), "token-1");
    println!("an early refresh of an exchange that hangs took {:?}", started.elapsed());
    // Far from the 30 s that a start without a token has.
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_key_that_is_refused_early_is_told_so_and_its_token_is_forgotten() {
    let stage = Stage::new();
    let exchange = once(|_| Reply::problem(401, "Missing, invalid, revoked, or expired API key"));
    with_a_token_that_ends_in(&stage, &exchange, TimeDelta::seconds(100));
    let file = stage.cache_file();
    for _ in 0..2 {
        failure(&stage.get_token(&exchange).output().unwrap(), 4);
        assert!(!file.exists());
    }
}

#[test]
fn a_next_token_that_lives_too_short_costs_nothing() {
    let stage = Stage::new();
    let exchange = once(|_| token("short", TimeDelta::seconds(70)));
    with_a_token_that_ends_in(&stage, &exchange, TimeDelta::seconds(100));
    assert_eq!((ask(&stage, &exchange).as_str(), exchange.asked().len()), ("token-1", 2));
}

#[test]
fn a_storm_of_starts_makes_one_exchange_a_token_life() {
    let stage = Stage::new();
    // It may be handed out for 4 s: 80 s, less the second of the date's grain, less 75 s.
    let exchange = StandIn::tls(|count| token(&format!("token-{count}"), LEAST_LIFE + TimeDelta::seconds(5)));
    let starts = Starts::new(&stage, &exchange, &[]);
    let started = Instant::now();
    let mut running = Vec::new();
    for beat in 1..=200 {
        running.push(starts.start());
        let next = started + Duration::from_millis(20) * beat;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    for output in outputs(running) {
        credential(&output);
    }
    let (asked, took) = (exchange.asked().len() as u64, started.elapsed());
    println!("200 starts in {took:?}: {asked} exchanges");
    // In the last quarter, so after 3 s of each token, the next one is asked for.
    assert!((2..=1 + took.as_secs() / 3).contains(&asked), "{asked} in {took:?}");
}

proptest! {
    #[test]
    fn a_token_is_due_in_the_last_quarter_of_the_time_in_which_it_may_be_handed_out(
        life in 75_000..86_400_000_i64,
        waited in 0..86_400_000_i64,
    ) {
        let start = DateTime::UNIX_EPOCH;
        let token = TokenLife::of_answer(start, None, start + TimeDelta::milliseconds(life));
        let now = start + TimeDelta::milliseconds(waited);
        let usable = life - LEAST_LIFE.num_milliseconds();
        let (due, usable_left) = (token.is_due_for_refresh(now), usable - waited);
        if usable_left * 4 < usable - 4 {
            prop_assert!(due);
        }
        if usable_left * 4 >= usable {
            prop_assert!(!due);
        }
        // Nobody asks early for what was just given, and a token is due before it may not be handed out any more.
        prop_assert!(!token.is_due_for_refresh(start));
        prop_assert!(due || token.may_be_handed_out(now));
    }

    #[test]
    fn no_clock_breaks_it(ms in proptest::array::uniform3(any::<i64>())) {
        let [asked, expires, now] =
            ms.map(|ms| DateTime::from_timestamp_millis(ms).unwrap_or(DateTime::<chrono::Utc>::MAX_UTC));
        let _ = TokenLife::of_answer(asked, None, expires).is_due_for_refresh(now);
    }
}
