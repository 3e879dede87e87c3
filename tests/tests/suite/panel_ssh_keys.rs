//! `/api/account/ssh-keys`: every field, status and sentence of seed 002.

mod credentials;
mod curl_lines;
mod people;
mod rejected;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use http::Method;
use serde_json::{Value, json};

use crate::ssh_key_api::{Stage, Surface, fingerprint, without_comment};

const PANEL: Surface = Surface::Panel;

/// The names of an object's fields, sorted.
fn fields(value: &Value) -> Vec<&str> {
    let mut fields: Vec<&str> =
        value.as_object().into_iter().flat_map(|object| object.keys()).map(String::as_str).collect();
    fields.sort_unstable();
    fields
}

/// A time as the seed shows it.
fn is_iso_milliseconds(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00:00:00.000Z" && text.parse::<DateTime<Utc>>().is_ok()
}

#[tokio::test]
async fn a_key_is_created_listed_and_deleted_in_the_words_of_the_seed() -> Result<()> {
    let stage = Stage::start("panel").await?;
    let empty = stage.ask(PANEL, Method::GET, "", &Value::Null).await?;
    let expected = json!({"data": [], "pagination": {"page": 1, "perPage": 50, "total": 0, "totalPages": 0}});
    ensure!(empty.status == 200 && empty.json() == expected, "{empty:?}");

    for (number, kind) in ["ed25519", "rsa", "ecdsa"].into_iter().enumerate() {
        let public = stage.own.ssh_key_pair(kind, kind).await?.public;
        let name = format!("{}{kind}", "ü".repeat(255 - kind.len()));
        let before = Utc::now().timestamp();
        let body = json!({"name": name, "publicKey": format!(" {public}\n"), "unknown": 1});
        let made = stage.ask(PANEL, Method::POST, "", &body).await?;
        ensure!(made.status == 201, "{made:?}");
        ensure!(made.header("content-type") == Some("application/json"), "{made:?}");
        ensure!(made.header("cache-control") == Some("no-store"), "{made:?}");
        let made = made.json();
        ensure!(fields(&made) == ["data"], "{made:#}");
        let data = &made["data"];
        ensure!(fields(data) == ["created_at", "fingerprint", "id", "name", "public_key"], "{data:#}");
        ensure!(data["name"] == name.as_str(), "{data:#}");
        ensure!(data["public_key"] == without_comment(&public).as_str(), "no comment: {data:#}");
        ensure!(data["fingerprint"] == fingerprint(&stage.own, &public).await?.as_str(), "{data:#}");
        let created = data["created_at"].as_str().unwrap_or_default();
        ensure!(is_iso_milliseconds(created), "{created}");
        ensure!((before..=Utc::now().timestamp()).contains(&created.parse::<DateTime<Utc>>()?.timestamp()));

        let list = stage.ask(PANEL, Method::GET, "?page=1&limit=50", &Value::Null).await?;
        let list = list.json();
        ensure!(fields(&list) == ["data", "pagination"], "{list:#}");
        ensure!(list["data"][number] == *data, "the same object: {list:#}");
        let pagination = json!({"page": 1, "perPage": 50, "total": number + 1, "totalPages": 1});
        ensure!(list["pagination"] == pagination, "{list:#}");
    }

    let list = stage.ask(PANEL, Method::GET, "", &Value::Null).await?.json();
    for key in list["data"].as_array().context("an array")? {
        let id = key["id"].as_str().context("an id")?;
        let deleted = stage.ask(PANEL, Method::DELETE, &format!("/{id}"), &Value::Null).await?;
        let expected = json!({"success": true, "message": "SSH key deleted successfully"});
        ensure!(deleted.status == 200 && deleted.json() == expected, "{deleted:?}");
        let again = stage.ask(PANEL, Method::DELETE, &format!("/{id}"), &Value::Null).await?;
        let absent = "SSH key not found or does not belong to the authenticated user.";
        ensure!(again.status == 404, "{again:?}");
        ensure!(again.json() == json!({"success": false, "message": absent}), "{again:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_deletion_without_an_id_says_that_it_is_missing() -> Result<()> {
    let stage = Stage::start("panel-no-id").await?;
    for behind in ["", "/", "?page=1"] {
        let answer = stage.ask(PANEL, Method::DELETE, behind, &Value::Null).await?;
        let expected = json!({"success": false, "message": "Missing SSH key ID in request."});
        ensure!(answer.status == 400 && answer.json() == expected, "{behind:?}: {answer:?}");
    }
    for strange in ["/nobody", "/%20", "/%2e%2e", "/%ff", "/a%2fb", "/%00"] {
        let answer = stage.ask(PANEL, Method::DELETE, strange, &Value::Null).await?;
        ensure!(answer.status == 404, "{strange}: {answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn pages_have_the_bounds_and_defaults_of_the_seed() -> Result<()> {
    let stage = Stage::start("panel-pages").await?;
    let mut names = Vec::new();
    for number in 0..3 {
        let name = format!("key {number}");
        stage.registered(PANEL, &name).await?;
        names.push(name);
    }
    // The query, the names on the page, and page, perPage, total and totalPages.
    let pages: [(&str, &[usize], [u64; 4]); 9] = [
        ("", &[0, 1, 2], [1, 50, 3, 1]),
        ("?page=1&limit=50", &[0, 1, 2], [1, 50, 3, 1]),
        ("?limit=1", &[0], [1, 1, 3, 3]),
        ("?limit=2&page=1", &[0, 1], [1, 2, 3, 2]),
        ("?limit=2&page=2", &[2], [2, 2, 3, 2]),
        ("?limit=2&page=3", &[], [3, 2, 3, 2]),
        ("?limit=100", &[0, 1, 2], [1, 100, 3, 1]),
        ("?page=18446744073709551615&limit=100", &[], [u64::MAX, 100, 3, 1]),
        ("?sort=name&page=%31", &[0, 1, 2], [1, 50, 3, 1]),
    ];
    for (query, shown, [page, per_page, total, total_pages]) in pages {
        let answer = stage.ask(PANEL, Method::GET, query, &Value::Null).await?;
        ensure!(answer.status == 200, "{query}: {answer:?}");
        let answer = answer.json();
        let listed: Vec<&str> =
            answer["data"].as_array().into_iter().flatten().filter_map(|key| key["name"].as_str()).collect();
        let expected: Vec<&str> = shown.iter().map(|number| names[*number].as_str()).collect();
        ensure!(listed == expected, "{query}: {answer:#}");
        let pagination =
            json!({"page": page, "perPage": per_page, "total": total, "totalPages": total_pages});
        ensure!(answer["pagination"] == pagination, "{query}: {answer:#}");
    }
    for query in [
        "page=0",
        "page=-1",
        "page=",
        "page=one",
        "page=1.5",
        "page=1e3",
        "page=%201",
        "page=18446744073709551616",
        "page=1&page=1",
        "limit=0",
        "limit=101",
        "limit=-5",
        "limit=",
        "limit=all",
        "limit=50&limit=50",
    ] {
        let answer = stage.ask(PANEL, Method::GET, &format!("?{query}"), &Value::Null).await?;
        ensure!(answer.status == 400, "{query}: {answer:?}");
        let json = answer.json();
        ensure!(fields(&json) == ["message", "success"] && json["success"] == false, "{query}: {json:#}");
        let parameter = query.split('=').next().unwrap_or_default();
        ensure!(
            json["message"].as_str().is_some_and(|message| message.contains(parameter)),
            "{query}: {json:#}"
        );
    }
    Ok(())
}
