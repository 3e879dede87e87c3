//! Bodies that are refused, and what is said of them.

use anyhow::{Result, ensure};
use http::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use super::{PANEL, fields};
use crate::ssh_key_api::{Stage, Surface, stored};

/// The seed's sentence for a key that is none and for one too many.
const INVALID_OR_FULL: &str = "Invalid SSH public key format or maximum of 25 keys exceeded.";
/// Nothing that is sent is to be found in an answer.
const MARK: &str = "s3cret-mark";

/// A public RSA key of this size, from ssh-keygen.
async fn rsa(stage: &Stage, bits: &str) -> Result<String> {
    let file = stage.own.dir().join(format!("rsa-{bits}"));
    let made = Command::new("ssh-keygen")
        .args(["-q", "-N", "", "-t", "rsa", "-b", bits, "-C", MARK, "-f"])
        .arg(&file)
        .output()
        .await?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok(std::fs::read_to_string(file.with_extension("pub"))?)
}

#[tokio::test]
async fn what_cannot_be_registered_is_refused_with_the_reason_and_without_an_echo() -> Result<()> {
    let stage = Stage::start("panel-rejected").await?;
    let good = stage.own.ssh_key_pair("good", "ed25519").await?.public;
    let other = stage.own.ssh_key_pair("other", "ed25519").await?.public;
    let small = rsa(&stage, "1024").await?;
    let key = |public: &str| json!({"name": MARK, "publicKey": public});
    let named = |name: Value| json!({"name": name, "publicKey": good});
    // What is sent; what the message says; what the detail says, where there is one.
    let rows: Vec<(Value, &str, Option<&str>)> = vec![
        (key("nonsense s3cret-mark"), INVALID_OR_FULL, Some("does not begin with a type")),
        (key(""), INVALID_OR_FULL, Some("there is no key")),
        (key("ssh-ed25519 AAAA s3cret-mark"), INVALID_OR_FULL, Some("damaged or cut off")),
        (key(&small), INVALID_OR_FULL, Some("the RSA key has 1024 bits, and 2048 to 8192 are accepted")),
        (key(&format!("{good}\n{other}")), INVALID_OR_FULL, Some("more than one line")),
        (key(&format!("from=\"{MARK}\" {good}")), INVALID_OR_FULL, Some("options or other words")),
        (key(&good.replace("ssh-ed25519 ", "ssh-rsa ")), INVALID_OR_FULL, Some("the line says ssh-rsa")),
        (key(&format!("sk-{good}")), INVALID_OR_FULL, Some("does not begin with a type")),
        (key("-----BEGIN PUBLIC KEY-----\ns3cret-mark"), INVALID_OR_FULL, Some("in another format")),
        (key(&format!("{good} {}", "x".repeat(1025))), INVALID_OR_FULL, Some("longer than 1024 bytes")),
        (key(&"x".repeat(20_000)), INVALID_OR_FULL, Some("longer than 16 KiB")),
        (json!({"publicKey": good}), "missing field `name`", None),
        (json!({"name": MARK}), "missing field `publicKey`", None),
        (json!({"name": MARK, "public_key": good}), "missing field `publicKey`", None),
        (json!({"name": MARK, "publicKey": [MARK]}), "expected a string", None),
        (json!({"name": MARK, "publicKey": null}), "expected a string", None),
        (named(json!(7)), "expected a string", None),
        (named(Value::Null), "expected a string", None),
        (named(json!("")), "A name for the SSH key is required.", None),
        (named(json!(" \t ")), "A name for the SSH key is required.", None),
        (named(json!("ü".repeat(256))), "The name of the SSH key may have 255 characters.", None),
        (json!([MARK]), "", None),
        (json!(MARK), "", None),
    ];
    for (body, message, detail) in rows {
        let answer = stage.ask(PANEL, Method::POST, "", &body).await?;
        ensure!(answer.status == 400, "{body:#}: {answer:?}");
        let json = answer.json();
        ensure!(json["success"] == false, "{body:#}: {json:#}");
        let said = json["message"].as_str().unwrap_or_default();
        let agrees = if detail.is_some() { said == message } else { said.contains(message) };
        ensure!(agrees && !said.is_empty(), "{body:#}: {json:#}");
        match detail {
            Some(detail) => {
                ensure!(fields(&json) == ["detail", "message", "success"], "{body:#}: {json:#}");
                ensure!(
                    json["detail"].as_str().is_some_and(|text| text.contains(detail)),
                    "{body:#}: {json:#}"
                );
            }
            None => ensure!(fields(&json) == ["message", "success"], "{body:#}: {json:#}"),
        }
        ensure!(!answer.text.contains(MARK), "an echo: {answer:?}");
    }
    let api = stage.own.http()?;
    let bearer = format!("Bearer {}", stage.key.plaintext()?);
    for (body, status) in [(String::new(), 400), (format!("{{{MARK}"), 400), ("x".repeat(70_000), 413)] {
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let answer = api.send(Method::POST, PANEL.path(), &headers, body.as_bytes()).await?;
        ensure!(answer.status == status, "{answer:?}");
        ensure!(fields(&answer.json()) == ["message", "success"], "{answer:?}");
        ensure!(!answer.text.contains(MARK), "an echo: {answer:?}");
    }
    ensure!(stored(&stage.own).await?.is_empty(), "nothing was made");
    Ok(())
}

#[tokio::test]
async fn a_public_key_that_somebody_has_registered_is_refused_whatever_its_comment() -> Result<()> {
    let (own, other) = tokio::try_join!(Stage::start("panel-first"), Stage::start("panel-second"))?;
    let (_, public) = own.registered(PANEL, "first").await?;
    for stage in [&own, &other] {
        let body = json!({"name": "second", "publicKey": format!("{public} another comment")});
        let answer = stage.ask(PANEL, Method::POST, "", &body).await?;
        let expected = json!({"success": false, "message": "This SSH key already exists in the system."});
        ensure!(answer.status == 409 && answer.json() == expected, "{answer:?}");
        let gpu = Surface::GpuCloud;
        let answer = stage.ask(gpu, Method::POST, "", &body).await?;
        ensure!(
            answer.status == 409
                && answer.at("/message") == Some(expected["message"].as_str().unwrap_or_default().to_owned()),
            "{answer:?}"
        );
    }
    ensure!(stored(&other.own).await?.is_empty(), "nothing is left of what was refused");
    Ok(())
}

#[tokio::test]
async fn beyond_the_accounts_limit_the_seeds_sentence_comes_with_what_to_do() -> Result<()> {
    let stage = Stage::start("panel-limit").await?;
    let limit = r#"{"spec":{"limits":{"sshKeys":1}}}"#;
    stage.own.kubectl.run(["patch", "account", &stage.own.account, "--type=merge", "-p", limit]).await?;
    stage.registered(PANEL, "first").await?;
    let public = stage.own.ssh_key_pair("second", "ed25519").await?.public;
    let body = json!({"name": "second", "publicKey": public});
    let answer = stage.ask(PANEL, Method::POST, "", &body).await?;
    ensure!(answer.status == 400, "{answer:?}");
    ensure!(answer.at("/message").as_deref() == Some(INVALID_OR_FULL), "{answer:?}");
    ensure!(answer.at("/detail").is_some_and(|detail| detail.contains("may have 1 SSH keys")), "{answer:?}");
    let answer = stage.ask(Surface::GpuCloud, Method::POST, "", &body).await?;
    ensure!(answer.status == 400, "{answer:?}");
    ensure!(
        answer.at("/message").is_some_and(|message| message.contains("may have 1 SSH keys")),
        "{answer:?}"
    );
    ensure!(stored(&stage.own).await?.len() == 1, "nothing is left of what was refused");
    Ok(())
}
