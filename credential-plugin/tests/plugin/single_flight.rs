//! Of many starts without a cached token one asks the exchange, and a holder of the lock that is stuck or gone blocks
//! nobody.

use std::fs;
#[cfg(unix)]
use std::path::Path;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use chrono::TimeDelta;

use crate::parallel::{Starts, outputs, token, until};
use crate::stage::{Stage, credential, failure, set_mode};
use crate::stand_in::{Reply, StandIn};
use crate::stand_in_proxy::{Play, StandInProxy};

const LIFE: TimeDelta = TimeDelta::minutes(10);
/// Starts at once. A process costs far more on Windows.
const MANY: usize = if cfg!(windows) { 20 } else { 100 };

/// An exchange that takes this long, and gives tokens that can be told apart.
fn slow(takes: Duration) -> StandIn {
    StandIn::tls(move |count| {
        thread::sleep(takes);
        token(&format!("token-{count}"), LIFE)
    })
}

/// An exchange whose first answer comes only when the sender is used or dropped.
fn stuck_at_first(then: impl Fn(usize) -> Reply + Send + Sync + 'static) -> (mpsc::Sender<()>, StandIn) {
    let (release, released) = mpsc::channel();
    let released = Arc::new(Mutex::new(released));
    let exchange = StandIn::tls(move |count| {
        if count == 1 {
            let _ = released.lock().unwrap().recv();
        }
        then(count)
    });
    (release, exchange)
}

/// An exchange that answers nobody until the sender is dropped, and then everybody at once.
#[cfg(unix)]
fn stuck_until_released() -> (mpsc::Sender<()>, StandIn) {
    let (release, released) = mpsc::channel();
    let released = Arc::new(Mutex::new(released));
    let exchange = StandIn::tls(move |count| {
        // Each looks: one that waits in here would keep the others out.
        while released.lock().unwrap().try_recv() == Err(mpsc::TryRecvError::Empty) {
            thread::sleep(Duration::from_millis(10));
        }
        token(&format!("token-{count}"), LIFE)
    });
    (release, exchange)
}

#[test]
fn of_many_parallel_cold_starts_one_asks_and_all_have_its_token() {
    let (stage, exchange) = (Stage::new(), slow(Duration::from_millis(300)));
    let starts = Starts::new(&stage, &exchange, &[]);
    let started = Instant::now();
    let outputs = outputs(starts.many(MANY));
    println!("{MANY} cold starts against an exchange of 300 ms: all done after {:?}", started.elapsed());
    for output in &outputs {
        assert_eq!(credential(output)["status"]["token"], "token-1");
    }
    assert_eq!(exchange.asked().len(), 1);
}

#[test]
fn of_many_parallel_starts_that_are_refused_few_ask_and_all_say_so() {
    let stage = Stage::new();
    let exchange = StandIn::tls(|_| {
        thread::sleep(Duration::from_millis(300));
        Reply::problem(401, "Missing, invalid, revoked, or expired API key")
    });
    let starts = Starts::new(&stage, &exchange, &[]);
    let started = Instant::now();
    for output in outputs(starts.many(MANY)) {
        failure(&output, 4);
    }
    let (asked, took) = (exchange.asked().len(), started.elapsed());
    println!("{MANY} starts that are refused: {asked} requests in {took:?}");
    // A failure counts for a second first.
    assert!(u64::try_from(asked).unwrap() <= 1 + took.as_secs(), "{asked} in {took:?}");
}

#[test]
fn when_the_one_that_asks_is_killed_the_rest_are_done_within_one_more_exchange() {
    let stage = Stage::new();
    let (_release, exchange) = stuck_at_first(|count| {
        thread::sleep(Duration::from_millis(300));
        token(&format!("token-{count}"), LIFE)
    });
    // A third of it is the patience with a leader.
    let starts = Starts::new(&stage, &exchange, &["--timeout", "120"]);
    let mut leader = starts.start();
    until("the first one asks", || exchange.asked().len() == 1);
    let rest = starts.many(MANY / 3);
    platform::until_they_wait(&rest);
    let started = Instant::now();
    leader.kill().unwrap();
    for output in outputs(rest) {
        assert_eq!(credential(&output)["status"]["token"], "token-2");
    }
    println!("many starts whose leader was killed: done {:?} later", started.elapsed());
    assert_eq!(exchange.asked().len(), 2);
    outputs(vec![leader]);
}

#[cfg(unix)]
#[test]
fn when_the_one_that_asks_is_stopped_another_asks_beside_it() {
    use rustix::process::{Pid, Signal, kill_process};
    let stage = Stage::new();
    let (_release, exchange) = stuck_at_first(|count| token(&format!("token-{count}"), LIFE));
    let starts = Starts::new(&stage, &exchange, &["--timeout", "9"]);
    let mut leader = starts.start();
    until("the first one asks", || exchange.asked().len() == 1);
    kill_process(Pid::from_child(&leader), Signal::STOP).unwrap();
    for output in outputs(starts.many(10)) {
        assert_eq!(credential(&output)["status"]["token"], "token-2");
    }
    assert_eq!(exchange.asked().len(), 2);
    leader.kill().unwrap();
    outputs(vec![leader]);
}

#[cfg(unix)]
#[test]
fn when_two_that_ask_are_stopped_the_rest_ask_in_time() {
    use rustix::process::{Pid, Signal, kill_process};
    let (stage, (release, exchange)) = (Stage::new(), stuck_until_released());
    let starts = Starts::new(&stage, &exchange, &["--timeout", "9"]);
    let mut stopped = Vec::new();
    for asked in 1..=2 {
        stopped.push(starts.start());
        until("it asks", || exchange.asked().len() == asked);
        kill_process(Pid::from_child(&stopped[asked - 1]), Signal::STOP).unwrap();
    }
    drop(release);
    credential(&outputs(vec![starts.start()])[0]);
    assert_eq!(exchange.asked().len(), 3);
    for start in &mut stopped {
        start.kill().unwrap();
    }
    outputs(stopped);
}

#[test]
fn a_slow_exchange_is_asked_by_two_however_many_wait() {
    let (stage, exchange) = (Stage::new(), slow(Duration::from_secs(9)));
    // Patience with the first one ends after 4 s, and would with the second after 8 s.
    let starts = Starts::new(&stage, &exchange, &["--timeout", "12"]);
    let leader = starts.start();
    until("the first one asks", || exchange.asked().len() == 1);
    let rest = outputs(starts.many(MANY / 5));
    credential(&outputs(vec![leader])[0]);
    let mut without = 0;
    for output in rest {
        // The second one asks to the end of its time, which is not the time that the exchange takes.
        if output.status.code() == Some(6) {
            without += 1;
        } else {
            assert_eq!(credential(&output)["status"]["token"], "token-1");
        }
    }
    assert!(without <= 1, "{without}");
    assert_eq!(exchange.asked().len(), 2);
}

#[test]
fn who_waited_for_a_start_that_went_another_way_asks_for_itself() {
    let (stage, exchange) = (Stage::new(), slow(Duration::ZERO));
    // It takes the leader's whole time.
    let stuck = StandInProxy::new(Play::Hang);
    let through = ["--timeout", "4", "--proxy-url", &stuck.server.url];
    let leader = Starts::new(&stage, &exchange, &through).start();
    until("the first one asks", || stuck.heads().len() == 1);
    let rest = Starts::new(&stage, &exchange, &["--timeout", "60"]).many(5);
    for output in outputs(rest) {
        assert_eq!(credential(&output)["status"]["token"], "token-1");
    }
    failure(&outputs(vec![leader])[0], 6);
    assert_eq!(exchange.asked().len(), 1);
}

#[test]
fn a_wait_ends_with_the_time_limit() {
    let stage = Stage::new();
    let (_release, exchange) = stuck_at_first(|_| token("late", LIFE));
    let patient = Starts::new(&stage, &exchange, &["--timeout", "60"]);
    let mut leader = patient.start();
    until("the first one asks", || exchange.asked().len() == 1);
    // Somebody holds the second lock too.
    let second = stage.cache_file_ending("lock").with_extension("lock2");
    fs::write(&second, "").unwrap();
    set_mode(&second, 0o600);
    let held = fs::File::open(&second).unwrap();
    held.lock().unwrap();
    // The one that asks works, and says so: with it another waits to the end.
    let hurried = Starts::new(&stage, &exchange, &["--timeout", "3"]);
    let line = failure(&outputs(vec![hurried.start()])[0], 6);
    assert!(line.contains("another start of kubectl-keyplane"), "{line}");
    assert_eq!(exchange.asked().len(), 1);
    leader.kill().unwrap();
    outputs(vec![leader]);
}

#[test]
fn a_cached_token_is_handed_out_while_the_lock_is_held() {
    let (stage, exchange) = (Stage::new(), slow(Duration::ZERO));
    let cold = credential(&stage.get_token(&exchange).output().unwrap());
    let held = fs::File::open(stage.cache_file_ending("lock")).unwrap();
    held.lock().unwrap();
    assert_eq!(credential(&stage.get_token(&exchange).output().unwrap()), cold);
    assert_eq!(exchange.asked().len(), 1);
}

#[test]
fn without_a_cache_nobody_waits() {
    let stage = Stage::new();
    let (release, exchange) = stuck_at_first(|count| token(&format!("token-{count}"), LIFE));
    let leader = Starts::new(&stage, &exchange, &[]).start();
    until("the first one asks", || exchange.asked().len() == 1);
    let own = credential(&stage.get_token(&exchange).arg("--no-cache").output().unwrap());
    assert_eq!(own["status"]["token"], "token-2");
    release.send(()).unwrap();
    assert_eq!(credential(&outputs(vec![leader])[0])["status"]["token"], "token-1");
}

/// Puts something else into the lock's place.
#[cfg(unix)]
fn misplace(lock: &Path, what: &str, elsewhere: &Path) {
    use std::os::unix::fs::{chown, symlink};
    fs::remove_file(lock).unwrap();
    match what {
        "a link" => symlink(elsewhere, lock).unwrap(),
        "a link to nothing" => symlink(elsewhere.with_extension("nothing"), lock).unwrap(),
        "a folder" => fs::create_dir(lock).unwrap(),
        "a folder with something in it" => {
            fs::create_dir(lock).unwrap();
            fs::write(lock.join("kept"), "").unwrap();
        }
        "a pipe" => {
            assert!(std::process::Command::new("mkfifo").arg(lock).status().unwrap().success());
        }
        "open to others" => {
            fs::write(lock, "").unwrap();
            set_mode(lock, 0o666);
        }
        _ => {
            fs::write(lock, "").unwrap();
            set_mode(lock, 0o600);
            // Only root can give a file away; for others it is their own.
            let _ = chown(lock, Some(65534), None);
        }
    }
}

#[cfg(unix)]
#[test]
fn what_stands_in_the_locks_place_is_neither_followed_nor_waited_for_and_heals() {
    use crate::stage::{files_in, has_mode};
    let (stage, exchange) = (Stage::new(), slow(Duration::ZERO));
    credential(&stage.get_token(&exchange).output().unwrap());
    let (lock, token) = (stage.cache_file_ending("lock"), stage.cache_file());
    let elsewhere = stage.file("elsewhere", "precious", 0o600);
    let elsewhere = Path::new(&elsewhere);
    // Whoever follows the link waits for this.
    let held = fs::File::open(elsewhere).unwrap();
    held.lock().unwrap();
    let places = [
        "a link",
        "a link to nothing",
        "a folder",
        "a folder with something in it",
        "a pipe",
        "open to others",
        "somebody else's",
    ];
    for (asked, what) in (2..).zip(places) {
        misplace(&lock, what, elsewhere);
        fs::remove_file(&token).unwrap();
        credential(&stage.get_token(&exchange).output().unwrap());
        assert_eq!(exchange.asked().len(), asked, "{what}");
        let healed = fs::symlink_metadata(&lock).unwrap();
        assert!(healed.is_file() && has_mode(&lock, 0o600), "{what}: {healed:?}");
    }
    assert_eq!(fs::read_to_string(elsewhere).unwrap(), "precious");
    assert!(!elsewhere.with_extension("nothing").exists());
    // Nor did anything stay behind but the token, the lock and the folder that was moved aside.
    assert_eq!(files_in(&stage.cache_folder()).len(), 3);
}

#[cfg(target_os = "linux")]
pub(crate) mod platform {
    use std::fs;
    use std::process::Child;

    use crate::parallel::until;

    /// Until the kernel has all of them waiting for a lock.
    pub(crate) fn until_they_wait(starts: &[Child]) {
        until("the rest wait", || {
            let locks = fs::read_to_string("/proc/locks").unwrap();
            starts.iter().all(|start| {
                locks.lines().any(|line| {
                    let words: Vec<&str> = line.split_whitespace().collect();
                    words.get(1) == Some(&"->") && words.contains(&start.id().to_string().as_str())
                })
            })
        });
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) mod platform {
    use std::process::Child;
    use std::thread;
    use std::time::Duration;

    /// The system does not say who waits. Who comes later than this finds the lock free, and the token there.
    pub(crate) fn until_they_wait(_: &[Child]) {
        thread::sleep(Duration::from_secs(1));
    }
}
