//! The load: wrk, which sends each request with another key.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

/// Requests are made once, before the clock starts, and then sent in an order that no cache likes.
const SCRIPT: &str = r#"
local requests, count, at = {}, 0, 0

init = function(args)
  for key in io.lines(os.getenv("KEYPLANE_BENCH_KEYS")) do
    count = count + 1
    requests[count] = wrk.format("GET", nil, { ["x-api-key"] = key })
  end
end

request = function()
  at = (at + 7919) % count
  return requests[at + 1]
end

done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("measured %d %d %d %d %d %d\n", summary.requests, summary.duration, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout, latency:percentile(50), latency:percentile(99)))
end
"#;

/// What is measured.
pub(crate) struct Target {
    /// What people call it.
    pub(crate) name: String,
    /// Where it is asked.
    pub(crate) url: String,
    /// The file with the keys that are sent.
    pub(crate) keys: PathBuf,
    /// Which part of them must be refused.
    pub(crate) refused: f64,
}

/// How load is put on.
pub(crate) struct Load {
    /// How many connections are kept open.
    pub(crate) connections: u32,
    /// For how long.
    pub(crate) duration: Duration,
    /// The file with the script.
    pub(crate) script: PathBuf,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Answers a second.
    pub(crate) rate: f64,
    /// How long half of the answers took at most, in microseconds.
    pub(crate) p50_micros: u64,
    /// How long all but a hundredth of them took at most, in microseconds.
    pub(crate) p99_micros: u64,
}

/// Writes wrk's script.
pub(crate) fn script(dir: &Path) -> Result<PathBuf> {
    let path = dir.join("load.lua");
    std::fs::write(&path, SCRIPT)?;
    Ok(path)
}

impl Load {
    /// Measures a target. Answers other than expected make it fail: what is wrong may well be fast.
    pub(crate) async fn put_on(&self, target: &Target) -> Result<Measured> {
        let output = Command::new("wrk")
            .args(["--threads", "1", "--connections", &self.connections.to_string()])
            .args(["--duration", &format!("{}s", self.duration.as_secs()), "--timeout", "10s", "--script"])
            .arg(&self.script)
            .arg(&target.url)
            .env("KEYPLANE_BENCH_KEYS", &target.keys)
            .output()
            .await
            .context("wrk cannot be started: apt-get install wrk")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().find_map(|line| line.strip_prefix("measured "));
        let numbers = line.with_context(|| format!("{text}{}", String::from_utf8_lossy(&output.stderr)))?;
        let numbers = numbers.split(' ').map(str::parse).collect::<Result<Vec<u64>, _>>()?;
        let [requests, micros, refused, failed, p50_micros, p99_micros] = numbers[..] else {
            anyhow::bail!("{text}");
        };
        ensure!(failed == 0, "{failed} requests failed: {text}");
        #[expect(clippy::cast_precision_loss, reason = "numbers of requests and microseconds of a minute")]
        let (count, refused, seconds) = (requests as f64, refused as f64, micros as f64 / 1e6);
        ensure!((refused / count - target.refused).abs() < 0.02, "{refused} of {count} were refused");
        Ok(Measured { rate: count / seconds, p50_micros, p99_micros })
    }
}
