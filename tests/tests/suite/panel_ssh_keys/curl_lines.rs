//! The seed's own command lines, with nothing changed but the host, the credential and the key's id.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::ssh_key_api::Stage;

const LIST: &str = r#"curl -X GET "https://panel.example.com/api/account/ssh-keys?page=1&limit=50" \
  -H "Authorization: Bearer YOUR_API_KEY""#;

const CREATE: &str = r#"curl -X POST "https://panel.example.com/api/account/ssh-keys" \
  -H "Authorization: Bearer YOUR_API_KEY" \
  -H "Content-Type: application/json" \
  -d '{
    "name": "Work Laptop",
    "publicKey": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl [email protected]"
  }'"#;

const DELETE: &str = r#"curl -X DELETE "https://panel.example.com/api/account/ssh-keys/clx1a2b3c4d5e6f7g8h9i0j1" \
  -H "Authorization: Bearer YOUR_API_KEY""#;

/// The seed's key, without the comment. No other test registers it, nor does an example of the OpenAPI document, which is tried:
/// in a cluster a key is registered once.
const PUBLIC_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

/// What curl is told besides, in its own file: whom to trust, and to print the status at the end.
const CURLRC: &str = "silent\nshow-error\nnoproxy = \"*\"\nwrite-out = \"\\n%{http_code}\"\n";

/// A shell that has the key, and curl that trusts this server.
struct Shell<'a> {
    stage: &'a Stage,
    home: &'a Path,
}

impl Shell<'_> {
    async fn run(&self, line: &str) -> Result<(u16, Value)> {
        let shared = &self.stage.shared.keyplane;
        let line = line
            .replace("https://panel.example.com", &shared.url())
            .replace("YOUR_API_KEY", &self.stage.key.plaintext()?);
        let mut sh = Command::new("sh")
            .env("CURL_HOME", self.home)
            .env("CURL_CA_BUNDLE", shared.ca_file())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut input = sh.stdin.take().context("sh has no standard input")?;
        input.write_all(line.as_bytes()).await?;
        drop(input);
        let output = sh.wait_with_output().await?;
        let said = String::from_utf8(output.stdout)?;
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "curl (Debian: curl) fails: {complaint}");
        let (body, status) = said.rsplit_once('\n').context("curl prints the status")?;
        Ok((status.parse()?, serde_json::from_str(body)?))
    }
}

#[tokio::test]
async fn the_seeds_command_lines_do_what_the_seed_says() -> Result<()> {
    let stage = Stage::start("panel-curl").await?;
    let home = tempfile::tempdir()?;
    std::fs::write(home.path().join(".curlrc"), CURLRC)?;
    let shell = Shell { stage: &stage, home: home.path() };

    let (status, made) = shell.run(CREATE).await?;
    ensure!(status == 201, "{status} {made:#}");
    let key = &made["data"];
    ensure!(key["name"] == "Work Laptop" && key["public_key"] == PUBLIC_KEY, "{made:#}");
    // The fingerprint that the seed shows is an invented one: ssh-keygen shows this.
    ensure!(key["fingerprint"] == "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU", "{made:#}");

    let (status, list) = shell.run(LIST).await?;
    let pagination = json!({"page": 1, "perPage": 50, "total": 1, "totalPages": 1});
    ensure!(status == 200 && list == json!({"data": [key], "pagination": pagination}), "{status} {list:#}");

    let (status, again) = shell.run(CREATE).await?;
    let duplicate = json!({"success": false, "message": "This SSH key already exists in the system."});
    ensure!(status == 409 && again == duplicate, "{status} {again:#}");

    let (status, absent) = shell.run(DELETE).await?;
    let message = "SSH key not found or does not belong to the authenticated user.";
    ensure!(status == 404 && absent == json!({"success": false, "message": message}), "{status} {absent:#}");
    let id = key["id"].as_str().context("an id")?;
    let (status, deleted) = shell.run(&DELETE.replace("clx1a2b3c4d5e6f7g8h9i0j1", id)).await?;
    let expected = json!({"success": true, "message": "SSH key deleted successfully"});
    ensure!(status == 200 && deleted == expected, "{status} {deleted:#}");
    let (_, list) = shell.run(LIST).await?;
    ensure!(list["pagination"]["totalPages"] == 0, "{list:#}");
    Ok(())
}
