//! What goes on and comes back, what is refused, and what is told when there is no answer.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use keyplane_tests::http_api::HttpApi;
use keyplane_tests::ports;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use serde_json::{Value, json};

use super::{IMAGE, MODELS, Stage, ensure_problem};
use crate::replicas::replica;

#[tokio::test]
async fn the_services_answers_come_as_they_are() -> Result<()> {
    let stage = Stage::start("inference-answers", "/openai/v1/", &[]).await?;
    for (status, headers, body) in [
        (200, json!({"content-type": "application/json"}), r#"{"data":[]}"#),
        (201, json!({"location": "/image/1"}), "made"),
        (302, json!({"location": "https://elsewhere.example/"}), ""),
        (400, json!({"content-type": "application/problem+json"}), r#"{"code":"of_the_service"}"#),
        (401, json!({"www-authenticate": "Bearer"}), "the service's own"),
        (404, json!({"x-own": "a"}), "no such model"),
        (429, json!({"retry-after": "7"}), "slowly"),
        (500, json!({}), "broken"),
        (503, json!({"retry-after": "1"}), "{"),
    ] {
        for (method, path) in [(Method::GET, MODELS), (Method::POST, IMAGE)] {
            let wanted = json!({"status": status, "headers": headers, "body": body});
            let path = format!("{path}?page=2&q=a%20b");
            let answer = stage.ask(method.clone(), &path, &[], &wanted).await?;
            ensure!(answer.status == status && answer.text == body, "{method} {wanted}: {answer:?}");
            for (name, value) in headers.as_object().context("headers")? {
                let values: Vec<_> = answer.headers.get_all(name).iter().collect();
                ensure!(
                    values.iter().any(|found| *found == value.as_str().unwrap_or_default()),
                    "{answer:?}"
                );
            }
            let target = stage.service.asked().pop().context("nothing was asked")?.target;
            ensure!(target == path.replace("/v1/inference", "/openai/v1"), "{target}");
        }
    }
    let pretending = json!({"headers": {"x-keyplane-account": "theirs", "connection": "x-hop", "x-hop": "1", "keep-alive": "timeout=9"}});
    let answer = stage.ask(Method::GET, MODELS, &[], &pretending).await?;
    ensure!(answer.status == 200, "{answer:?}");
    for name in ["x-keyplane-account", "x-hop", "keep-alive"] {
        ensure!(answer.header(name).is_none(), "{name}: {answer:?}");
    }
    // HEAD is a GET without a body.
    let answer = stage.ask(Method::HEAD, MODELS, &[], &json!({"headers": {"x-own": "1"}})).await?;
    ensure!(
        answer.status == 200 && answer.text.is_empty() && answer.header("x-own") == Some("1"),
        "{answer:?}"
    );
    ensure!(stage.service.asked().pop().context("nothing was asked")?.method == "HEAD");
    Ok(())
}

#[tokio::test]
async fn the_service_sees_who_asks_and_nothing_that_was_said_to_keyplane() -> Result<()> {
    let stage = Stage::start("inference-headers", "", &[]).await?;
    let sent = [
        ("authorization", "Bearer of-the-client"),
        ("cookie", "session=of-the-client"),
        ("x-keyplane-account", "of-the-client"),
        ("x_keyplane_scope", "of-the-client"),
        ("x-keyplane-admin", "of-the-client"),
        ("connection", "x-private, keep-alive"),
        ("x-private", "of-the-client"),
        ("proxy-authorization", "Basic of-the-client"),
        ("te", "of-the-client"),
        ("forwarded", "for=of-the-client"),
        ("x-real-ip", "of-the-client"),
        ("x-forwarded-for", "192.0.2.1"),
        ("accept", "image/png"),
        ("content-type", "application/json"),
        ("user-agent", "of the test"),
        ("x-request-id", "name-of-a-request"),
    ];
    let answer = stage.ask(Method::POST, IMAGE, &sent, &json!({})).await?;
    ensure!(answer.status == 200 && answer.text == "2 bytes", "{answer:?}");
    let asked = stage.service.asked().pop().context("nothing was asked")?;
    ensure!(!asked.holds("of-the-client") && !asked.holds(&stage.key.plaintext()?), "{asked:?}");
    for (name, value) in [
        ("x-keyplane-account", stage.own.account.as_str()),
        ("x-keyplane-scope", "inference"),
        ("x-forwarded-for", "192.0.2.1, 127.0.0.1"),
        ("accept", "image/png"),
        ("content-type", "application/json"),
        ("user-agent", "of the test"),
        ("x-request-id", "name-of-a-request"),
        ("content-length", "2"),
        ("host", stage.service.url().trim_start_matches("http://")),
    ] {
        ensure!(asked.header(name) == value, "{name}: {asked:?}");
    }
    Ok(())
}

#[tokio::test]
async fn only_a_live_key_with_the_scope_comes_through() -> Result<()> {
    let stage = Stage::start("inference-refused", "", &[]).await?;
    let own = &stage.own;
    let text = |key: &keyplane_tests::tenant::HeldKey| key.plaintext();
    let unknown = text(&own.generate("unknown", &["--scope", "inference"]).await?.0)?;
    let ssh_keys = text(&own.key("ssh-keys", &["--scope", "ssh-keys"]).await?)?;
    let (away, manifest) = own.generate("away", &["--scope", "inference"]).await?;
    let list = "spec:\n  allowedCidrs: [192.0.2.0/24]\n";
    own.kubectl.apply(&manifest.replacen("spec:\n", list, 1)).await?;
    own.wait_ready("apikey/away").await?;
    let away = text(&away)?;
    let all = text(&own.key("all", &["--scope", "all"]).await?)?;
    // Who knows of the newest key knows of all.
    until("the newest key to be accepted", PATIENCE, || async {
        let answer = stage.http()?.send(Method::GET, MODELS, &[("x-api-key", &all)], b"").await?;
        Ok(if answer.status == 200 { Seen::Done(()) } else { Seen::NotYet(format!("{answer:?}")) })
    })
    .await?;
    let first = stage.service.asked();
    ensure!(first.len() == 1 && first[0].header("x-keyplane-scope") == "all", "{first:?}");
    let key = text(&stage.key)?;
    let as_bearer = format!("Bearer {key}");
    let person = format!("Bearer {}", own.owner_token().await?);
    for (what, headers, status, code) in [
        ("nothing", vec![], 401, "invalid_api_key"),
        ("no key", vec![("x-api-key", "kpk_none")], 401, "invalid_api_key"),
        ("a key of nobody", vec![("x-api-key", unknown.as_str())], 401, "invalid_api_key"),
        ("two keys", vec![("x-api-key", &key), ("x-api-key", &all)], 401, "invalid_api_key"),
        ("a key as a token", vec![("authorization", &as_bearer)], 401, "invalid_api_key"),
        ("a person", vec![("authorization", &person)], 401, "invalid_api_key"),
        ("another scope", vec![("x-api-key", &ssh_keys)], 403, "insufficient_scope"),
        ("another address", vec![("x-api-key", &away)], 403, "address_not_allowed"),
    ] {
        for (method, path) in [(Method::GET, MODELS), (Method::POST, IMAGE)] {
            let answer = stage.http()?.send(method, path, &headers, b"").await?;
            ensure_problem(what, &answer, status, code)?;
        }
    }
    for (method, path, status, code) in [
        (Method::POST, MODELS, 405, "method_not_allowed"),
        (Method::GET, IMAGE, 405, "method_not_allowed"),
        (Method::GET, "/v1/inference", 404, "not_found"),
        (Method::GET, "/v1/inference/runtime/models/..", 404, "not_found"),
    ] {
        let answer = stage.http()?.send(method, path, &[("x-api-key", &key)], b"").await?;
        ensure_problem(path, &answer, status, code)?;
    }
    ensure!(stage.service.asked().len() == 1, "{:?}", stage.service.asked());

    ensure!(stage.ask(Method::GET, MODELS, &[], &json!({})).await?.status == 200);
    until("the uses to be counted", PATIENCE, || async {
        let usage = own.stored_key("inference").await?.status.unwrap_or_default().usage;
        Ok(match usage {
            Some(usage) if usage.count == 1 => Seen::Done(()),
            other => Seen::NotYet(format!("{other:?}")),
        })
    })
    .await?;
    own.patch_key("inference", r#"{"revoked":true}"#).await?;
    until("the revoked key to be refused", PATIENCE, || async {
        let answer = stage.ask(Method::GET, MODELS, &[], &json!({})).await?;
        Ok(if answer.status == 401 { Seen::Done(()) } else { Seen::NotYet(format!("{answer:?}")) })
    })
    .await?;
    let before = stage.service.asked().len();
    for (method, path) in [(Method::GET, MODELS), (Method::POST, IMAGE)] {
        let answer = stage.ask(method, path, &[], &json!({})).await?;
        ensure_problem("revoked", &answer, 401, "api_key_revoked")?;
    }
    ensure!(stage.service.asked().len() == before);
    Ok(())
}

#[tokio::test]
async fn a_service_that_is_not_there_is_too_slow_or_none_is_told_apart() -> Result<()> {
    let stage = Stage::start("inference-absent", "", &["--inference-answer-seconds", "1"]).await?;
    let answer = stage.ask(Method::POST, IMAGE, &[], &json!({"kind": "never"})).await?;
    ensure_problem("too slow", &answer, 504, "upstream_timeout")?;

    let [port] = ports::free()?;
    let nowhere =
        replica("inference-nowhere", &["--inference-upstream", &format!("http://127.0.0.1:{port}")]).await?;
    let none = replica("inference-none", &[]).await?;
    let off = replica("inference-off", &["--disable-surface", "inference"]).await?;
    let key = stage.key.plaintext()?;
    for (keyplane, status, code, told) in [
        (&nowhere, 502, "upstream_unreachable", "cannot be reached"),
        (&none, 503, "inference_not_configured", "--inference-upstream"),
        (&off, 404, "not_found", "Nothing is served"),
    ] {
        let api = || HttpApi::at(&keyplane.url(), Some(keyplane.ca_file()));
        for (method, path) in [(Method::GET, MODELS), (Method::POST, IMAGE)] {
            let answer = api()?.send(method, path, &[("x-api-key", &key)], b"").await?;
            ensure_problem(code, &answer, status, code)?;
            ensure!(answer.at("/detail").is_some_and(|detail| detail.contains(told)), "{answer:?}");
            // A stranger learns nothing of it.
            if status != 404 {
                let answer = api()?.send(Method::GET, MODELS, &[], b"").await?;
                ensure_problem("nobody", &answer, 401, "invalid_api_key")?;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_image_may_take_longer_than_other_answers() -> Result<()> {
    let stage = Stage::start("inference-slow", "", &[]).await?;
    // Longer than the limit around everything that Keyplane answers itself, which is 15 s.
    let wanted = json!({"after_seconds": 17, "body": "an image"});
    let answer = stage.ask(Method::POST, IMAGE, &[], &wanted).await?;
    ensure!(answer.status == 200 && answer.text == "an image", "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn a_body_may_be_large_and_not_larger_than_the_limit() -> Result<()> {
    let stage = Stage::start("inference-body", "", &["--inference-body-limit-bytes", "1000000"]).await?;
    let key = stage.key.plaintext()?;
    let (whole, chunked) = ("-H 'expect:'", "-H 'expect:' -H 'transfer-encoding: chunked'");
    let asking = "-H 'expect: 100-continue' --expect100-timeout 60";
    for (length, ways, status) in [
        (65_537, vec![whole, chunked, asking], 200),
        (1_000_000, vec![whole, chunked, asking], 200),
        (1_000_001, vec![whole, chunked, asking], 413),
        // Who sends that much without asking may not get to see an answer.
        (5_000_000, vec![asking], 413),
    ] {
        for way in ways {
            let script = format!(
                "head -c {length} /dev/zero | curl -sS --http1.1 {way} -w '\n%{{http_code}}' --data-binary @- \
                 -H \"x-api-key: $YOUR_API_KEY\" $URL{IMAGE}"
            );
            let output = stage.run(&script).await?;
            let text = String::from_utf8_lossy(&output.stdout);
            let (body, code) = text.rsplit_once('\n').with_context(|| format!("{output:?}"))?;
            ensure!(code == status.to_string(), "{length} {way}: {output:?}");
            if status == 200 {
                ensure!(body == format!("{length} bytes"), "{body}");
            } else {
                let body: Value = serde_json::from_str(body)?;
                ensure!(body["code"] == "body_too_large", "{body}");
            }
        }
    }
    ensure!(stage.service.asked().iter().all(|asked| !asked.holds(&key)));
    Ok(())
}
