//! A failure counts for a short time for other starts too, with its own exit code, and then no more.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use keyplane_credential_plugin::failure::{Failure, FailureKind};
use keyplane_credential_plugin::token::failure_memory::{
    FIRST_PAUSE, IN_A_ROW_WITHIN, LONGEST_ASKED_PAUSE, LONGEST_PAUSE, RememberedFailure, pause,
};
use keyplane_credential_plugin::token::way::Way;
use proptest::prelude::*;
use serde_json::{Value, json};
use ureq::Proxy;

use crate::parallel::token;
use crate::stage::{Stage, credential, failure, has_mode};
use crate::stand_in::{Reply, StandIn, now};
use crate::stand_in_proxy::{Play, StandInProxy};

const SENTENCE: &str = "Missing, invalid, revoked, or expired API key";
const LIFE: TimeDelta = TimeDelta::minutes(10);

/// Makes the remembered failure count for a while yet, so that a busy machine makes no difference.
fn prolong(stage: &Stage) {
    stage.edit_cached("failed", |entry| entry["failure"]["until"] = json!(now() + TimeDelta::seconds(20)));
}

/// Makes the remembered failure one of a moment ago that counts no more.
fn end(stage: &Stage) {
    stage.edit_cached("failed", |entry| {
        entry["failure"]["at"] = json!(now() - TimeDelta::seconds(2));
        entry["failure"]["until"] = json!(now() - TimeDelta::seconds(1));
    });
}

fn remembered(stage: &Stage) -> Value {
    let content = fs::read(stage.cache_file_ending("failed")).unwrap();
    serde_json::from_slice::<Value>(&content).unwrap()["failure"].clone()
}

/// For how many seconds the failure counts.
fn counts_for(stage: &Stage) -> i64 {
    let time = |name: &str| remembered(stage)[name].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    (time("until") - time("at")).num_seconds()
}

#[test]
fn a_failure_is_told_again_with_its_own_exit_code_and_without_a_request() {
    let answers: [(i32, fn() -> Reply); 6] = [
        (4, || Reply::problem(401, SENTENCE)),
        (5, || Reply::problem(403, "no access")),
        (8, || Reply::problem(500, "broken")),
        (9, || Reply::problem(429, "too many")),
        (9, || Reply::problem(503, "not ready").with("retry-after", "5")),
        (10, || token("short", TimeDelta::seconds(70))),
    ];
    for (code, answer) in answers {
        let (stage, exchange) = (Stage::new(), StandIn::tls(move |_| answer()));
        let mut command = stage.get_token(&exchange);
        command.args(["--timeout", "3"]);
        let line = failure(&command.output().unwrap(), code);
        assert!(!line.contains("told again"), "{line}");
        let asked = exchange.asked().len();
        prolong(&stage);
        let again = failure(&command.output().unwrap(), code);
        let (what, remedy) = line.split_once("; ").unwrap();
        let (what_again, rest) = again.split_once("; ").unwrap();
        assert_eq!(what_again, what);
        let (when, remedy_again) = rest.split_once("; ").unwrap();
        assert_eq!(remedy_again, remedy);
        assert!(
            when.starts_with("told again from ") && when.contains("the exchange is asked anew in "),
            "{when}"
        );
        assert_eq!(exchange.asked().len(), asked);
    }
}

#[test]
fn what_gives_no_answer_at_all_is_told_again_too() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let [exchange, other] = [(); 2].map(|()| StandIn::tls(|_| token("token", LIFE)));
    for (code, url) in [(6, format!("https://{nobody}")), (7, exchange.url.clone())] {
        let stage = Stage::new();
        let ca = stage.file("ca.pem", &other.ca, 0o644);
        let mut command = stage.plugin();
        command.env("KEYPLANE_API_KEY", &stage.key).args(["get-token", "--timeout", "3", "--server", &url]);
        command.args(["--certificate-authority", &ca]);
        failure(&command.output().unwrap(), code);
        prolong(&stage);
        let again = failure(&command.output().unwrap(), code);
        assert!(again.contains("told again"), "{again}");
    }
}

#[test]
fn a_key_that_is_good_again_works_again_and_the_failure_is_forgotten() {
    let stage = Stage::new();
    let exchange = StandIn::tls(|count| match count {
        1 | 2 => Reply::problem(403, "locked"),
        _ => token("token", LIFE),
    });
    failure(&stage.get_token(&exchange).output().unwrap(), 5);
    assert_eq!(counts_for(&stage), 1);
    assert!(has_mode(&stage.cache_file_ending("failed"), 0o600));
    end(&stage);
    failure(&stage.get_token(&exchange).output().unwrap(), 5);
    assert_eq!((counts_for(&stage), exchange.asked().len()), (2, 2));
    end(&stage);
    let file = stage.cache_file_ending("failed");
    credential(&stage.get_token(&exchange).output().unwrap());
    assert!(!file.exists());
}

#[test]
fn what_is_remembered_holds_no_key_and_no_token() {
    let stage = Stage::new();
    let key = stage.key.clone();
    let exchange = StandIn::tls(move |_| Reply::problem(401, &format!("who is {key}?")));
    failure(&stage.get_token(&exchange).output().unwrap(), 4);
    let content = fs::read_to_string(stage.cache_file_ending("failed")).unwrap();
    assert!(content.contains("[redacted]"), "{content}");
    assert!(!content.contains(stage.key.split_once('_').unwrap().1), "{content}");
}

#[test]
fn a_retry_after_is_respected_up_to_a_bound() {
    for (asked, counts) in [("7", 7), ("3600", LONGEST_ASKED_PAUSE.num_seconds()), ("0", 1), ("soon", 1)] {
        let (stage, exchange) =
            (Stage::new(), StandIn::tls(move |_| Reply::problem(429, "too many").with("retry-after", asked)));
        failure(&stage.get_token(&exchange).output().unwrap(), 9);
        assert_eq!(counts_for(&stage), counts, "{asked}");
    }
}

#[test]
fn without_a_cache_the_exchange_is_asked_at_once() {
    let (stage, exchange) = (Stage::new(), StandIn::tls(|_| Reply::problem(401, SENTENCE)));
    failure(&stage.get_token(&exchange).output().unwrap(), 4);
    prolong(&stage);
    for asked in 2..4 {
        let line = failure(&stage.get_token(&exchange).arg("--no-cache").output().unwrap(), 4);
        assert!(!line.contains("told again"), "{line}");
        assert_eq!(exchange.asked().len(), asked);
    }
}

#[test]
fn a_failure_that_is_damaged_or_from_the_future_or_of_another_slot_is_none() {
    let (stage, exchange) = (Stage::new(), StandIn::tls(|_| Reply::problem(401, SENTENCE)));
    failure(&stage.get_token(&exchange).output().unwrap(), 4);
    let file = stage.cache_file_ending("failed");
    let sound = fs::read(&file).unwrap();
    let change = |change: &dyn Fn(&mut Value)| {
        let mut entry: Value = serde_json::from_slice(&sound).unwrap();
        entry["failure"]["until"] = json!(now() + TimeDelta::seconds(20));
        change(&mut entry);
        entry.to_string().into_bytes()
    };
    let contents = [
        Vec::new(),
        sound[..sound.len() / 2].to_vec(),
        vec![b' '; 100_000],
        change(&|entry| entry["layout"] = json!(0)),
        change(&|entry| entry["slot"] = json!("another")),
        change(&|entry| entry["failure"]["exitCode"] = json!(0)),
        change(&|entry| entry["failure"]["exitCode"] = json!(3)),
        change(&|entry| entry["failure"]["at"] = json!(now() + TimeDelta::seconds(10))),
        change(&|entry| entry["failure"]["until"] = json!(now() + TimeDelta::hours(1))),
    ];
    for (asked, content) in (2..).zip(contents) {
        fs::write(&file, &content).unwrap();
        failure(&stage.get_token(&exchange).output().unwrap(), 4);
        assert_eq!(exchange.asked().len(), asked, "{}", String::from_utf8_lossy(&content));
    }
    // It heals even from a folder.
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    failure(&stage.get_token(&exchange).output().unwrap(), 4);
    assert!(fs::symlink_metadata(&file).unwrap().is_file());
}

fn kind() -> impl Strategy<Value = FailureKind> {
    proptest::sample::select(FailureKind::ALL.to_vec())
}

fn moment() -> impl Strategy<Value = DateTime<Utc>> {
    (0..4_000_000_000_000_i64).prop_map(|ms| DateTime::from_timestamp_millis(ms).unwrap())
}

fn failure_of(kind: FailureKind, asked: Option<Duration>) -> Failure {
    Failure::new(kind, "what", "place", "remedy").asking_for_a_pause(asked)
}

fn some_way() -> Way {
    Way::new(None, Duration::from_secs(30))
}

const PROXIES: [Option<&str>; 5] = [
    None,
    Some("http://proxy.example:3128"),
    Some("http://other.example:3128"),
    Some("http://me:one@proxy.example:3128"),
    Some("http://me:two@proxy.example:3128"),
];

fn way(proxy: usize, allowed: u64) -> Way {
    let proxy = PROXIES[proxy].map(|url| Proxy::new(url).unwrap());
    Way::new(proxy.as_ref(), Duration::from_millis(allowed))
}

#[test]
fn a_failure_through_a_proxy_is_not_told_to_a_start_that_goes_another_way() {
    let (stage, exchange) = (Stage::new(), StandIn::tls(|_| token("token", LIFE)));
    let broken = StandInProxy::new(Play::Answer("HTTP/1.1 502 Bad Gateway\r\n\r\n"));
    let sound = StandInProxy::new(Play::Lead(exchange.address));
    let through = |proxy: &str| {
        let mut command = stage.get_token(&exchange);
        command.args(["--timeout", "3", "--proxy-url", proxy]).output().unwrap()
    };
    failure(&through(&broken.server.url), 6);
    prolong(&stage);
    assert!(failure(&through(&broken.server.url), 6).contains("told again"));
    credential(&through(&sound.server.url));
    assert_eq!(exchange.asked().len(), 1);
}

#[test]
fn a_start_with_more_time_asks_for_itself_and_one_with_less_is_told() {
    let (stage, exchange) = (Stage::new(), StandIn::tls(|_| Reply::problem(500, "broken")));
    let within = |seconds: &str| {
        failure(&stage.get_token(&exchange).args(["--timeout", seconds]).output().unwrap(), 8)
    };
    // The last one is told what the second one met.
    for (seconds, told) in [("10", false), ("30", false), ("10", true)] {
        assert_eq!(within(seconds).contains("told again"), told, "{seconds}");
        prolong(&stage);
    }
    assert_eq!(exchange.asked().len(), 2);
}

#[test]
fn what_the_exchange_says_about_the_key_is_told_on_every_way() {
    let (stage, exchange) = (Stage::new(), StandIn::tls(|_| Reply::problem(401, SENTENCE)));
    failure(&stage.get_token(&exchange).args(["--timeout", "5"]).output().unwrap(), 4);
    prolong(&stage);
    let sound = StandInProxy::new(Play::Lead(exchange.address));
    let line =
        failure(&stage.get_token(&exchange).args(["--proxy-url", &sound.server.url]).output().unwrap(), 4);
    assert!(line.contains("told again"), "{line}");
    assert_eq!(exchange.asked().len(), 1);
}

#[cfg(unix)]
#[test]
fn nothing_is_remembered_in_a_folder_in_which_others_may_write() {
    use crate::stage::{files_in, set_mode};
    for folder_mode in [0o1777, 0o770] {
        let (stage, exchange) = (Stage::new(), StandIn::tls(|_| Reply::problem(401, SENTENCE)));
        fs::create_dir_all(stage.cache_folder()).unwrap();
        set_mode(&stage.cache_folder(), folder_mode);
        for _ in 0..2 {
            failure(&stage.get_token(&exchange).output().unwrap(), 4);
        }
        assert_eq!((files_in(&stage.cache_folder()).len(), exchange.asked().len()), (0, 2));
    }
}

proptest! {
    #[test]
    fn who_goes_another_way_is_told_only_what_is_about_the_key(
        kind in kind(),
        at in moment(),
        proxies in (0..PROXIES.len(), 0..PROXIES.len()),
        allowed in (1_u64..400_000, 1_u64..400_000),
    ) {
        let (met, other) = (way(proxies.0, allowed.0), way(proxies.1, allowed.1));
        let Some(failure) = RememberedFailure::of(&failure_of(kind, None), false, met.clone(), None, at) else {
            return Ok(());
        };
        let about_the_key = matches!(kind.exit_code(), 4 | 5 | 10 | 12 | 13);
        let same_way = proxies.0 == proxies.1 && allowed.1.div_ceil(1000) <= allowed.0.div_ceil(1000);
        prop_assert_eq!(failure.told_again(&other, at).is_some(), about_the_key || same_way);
        prop_assert!(failure.told_again(&met, at).is_some());
    }

    #[test]
    fn a_pause_grows_and_stays_short(n: u32, asked in proptest::option::of(0_u64..u64::MAX)) {
        let own = pause(n, None);
        prop_assert!(FIRST_PAUSE <= own && own <= LONGEST_PAUSE);
        prop_assert!(own <= pause(n.saturating_add(1), None));
        let asked = asked.map(Duration::from_secs);
        prop_assert!(own <= pause(n, asked) && pause(n, asked) <= LONGEST_ASKED_PAUSE);
    }

    #[test]
    fn a_failure_counts_from_its_moment_for_its_pause_and_at_no_other_time(
        kind in kind(),
        asked in proptest::option::of(0_u64..1000),
        at in moment(),
        later in -100_000_i64..100_000,
    ) {
        let asked = asked.map(Duration::from_secs);
        let Some(failure) = RememberedFailure::of(&failure_of(kind, asked), false, some_way(), None, at) else {
            prop_assert!(matches!(kind.exit_code(), 1..=3 | 11 | 14 | 15));
            return Ok(());
        };
        let now = at + TimeDelta::milliseconds(later);
        let counts = later >= 0 && TimeDelta::milliseconds(later) < pause(1, asked);
        prop_assert_eq!(failure.counts(now), counts);
        let told = failure.told_again(&some_way(), now);
        prop_assert_eq!(told.is_some(), counts);
        prop_assert!(told.is_none_or(|told| told.kind() == kind));
    }

    #[test]
    fn only_failures_in_a_row_make_it_longer(
        at in moment(),
        gaps in proptest::collection::vec(-1_000_i64..60_000, 1..12),
    ) {
        let refused = failure_of(FailureKind::Refused, None);
        let mut last = RememberedFailure::of(&refused, false, some_way(), None, at).unwrap();
        let (mut now, mut until, mut in_a_row) = (at, at + pause(1, None), 1);
        for gap in gaps {
            now += TimeDelta::milliseconds(gap);
            let goes_on = gap >= 0 && now - until <= IN_A_ROW_WITHIN;
            in_a_row = if goes_on { in_a_row + 1 } else { 1 };
            last = RememberedFailure::of(&refused, false, some_way(), Some(&last), now).unwrap();
            until = now + pause(in_a_row, None);
            prop_assert!(last.counts(now) && last.counts(until - TimeDelta::milliseconds(1)));
            prop_assert!(!last.counts(until));
        }
    }

    #[test]
    fn an_early_refreshs_failure_rests_the_refresh_and_is_told_to_nobody(at in moment()) {
        let server = failure_of(FailureKind::Server, None);
        let early = RememberedFailure::of(&server, true, some_way(), None, at).unwrap();
        prop_assert!(early.counts_for(&some_way(), at) && early.told_again(&some_way(), at).is_none());
    }
}
