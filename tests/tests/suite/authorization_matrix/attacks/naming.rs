//! Other ways to name an account.

use anyhow::Result;
use http::Method;
use serde_json::{Value, json};

use super::Neighbours;
use crate::authorization_matrix::operations::{KEYS, NAMESPACES, PANEL};

#[tokio::test]
async fn a_header_names_one_account_and_lets_nobody_in() -> Result<()> {
    let all = Neighbours::meet("naming").await?;
    let before = all.keys().await?;
    let (own, theirs) = (all.own.account.as_str(), all.other.account.as_str());
    let header = "x-keyplane-account";
    let (list, upper) = (format!("{theirs}, {own}"), own.to_uppercase());
    let (spaced, nested) = (format!("{theirs} {own}"), format!("{theirs}/../{own}"));
    let long = "a".repeat(51);
    // In the header.
    for (what, headers, status) in [
        ("this one", vec![(header, own)], 403),
        ("both", vec![(header, theirs), (header, own)], 400),
        ("both, the other way round", vec![(header, own), (header, theirs)], 400),
        ("this one twice", vec![(header, own), (header, own)], 403),
        ("a list", vec![(header, list.as_str())], 400),
        ("with a space", vec![(header, spaced.as_str())], 400),
        ("as a path", vec![(header, nested.as_str())], 400),
        ("in upper case", vec![(header, upper.as_str())], 400),
        ("nothing", vec![(header, "")], 400),
        ("a long one", vec![(header, long.as_str())], 400),
        ("a star", vec![(header, "*")], 400),
        ("no text", vec![(header, "\u{fc}")], 400),
        (
            "impersonated",
            vec![
                (header, own),
                ("impersonate-user", "system:admin"),
                ("impersonate-group", "system:masters"),
            ],
            403,
        ),
        (
            "by a proxy",
            vec![(header, own), ("x-remote-user", "system:admin"), ("x-remote-group", "system:masters")],
            403,
        ),
        (
            "in its key's name",
            vec![(header, own), ("x-keyplane-key-id", all.one.as_str()), ("x-keyplane-scope", "all")],
            403,
        ),
    ] {
        for (method, path) in
            [(Method::GET, KEYS), (Method::POST, KEYS), (Method::GET, NAMESPACES), (Method::GET, PANEL)]
        {
            let body = json!({"name": "x", "scopes": {"all": true}});
            let answer = all.ask(&all.stranger, method, path, &headers, &body).await?;
            all.ensure_nothing(what, &answer, &[status])?;
            let without: Vec<(&str, &str)> = headers.clone();
            let answer = all.http.json(Method::GET, path, &without, &Value::Null).await?;
            all.ensure_nothing(what, &answer, &[401])?;
        }
    }
    all.ensure_unchanged(&before).await
}

#[tokio::test]
async fn a_query_names_one_account_and_lets_nobody_in() -> Result<()> {
    let all = Neighbours::meet("naming-query").await?;
    let before = all.keys().await?;
    let (own, theirs) = (all.own.account.as_str(), all.other.account.as_str());
    let header = "x-keyplane-account";
    // In the query, alone and beside a header.
    for (query, headers, status) in [
        (format!("account={own}"), vec![], 403),
        (format!("account={own}"), vec![(header, theirs)], 400),
        (format!("account={theirs}"), vec![(header, own)], 400),
        (format!("account={theirs}&account={own}"), vec![], 400),
        (format!("account={own}&account={own}"), vec![], 400),
        (format!("account={theirs}&%61ccount={own}"), vec![], 400),
        (format!("account={own}%00"), vec![], 400),
        (format!("account={own}%0a"), vec![], 400),
        (format!("account=%20{own}"), vec![], 400),
        (format!("account={own}%2f..%2f{theirs}"), vec![], 400),
        ("account=%ff".to_owned(), vec![], 400),
        ("account=%c3%bc".to_owned(), vec![], 400),
        ("account".to_owned(), vec![], 400),
    ] {
        for path in [KEYS, NAMESPACES, PANEL, "/v1/kubernetes/kubeconfig"] {
            let answer = all
                .ask(&all.stranger, Method::GET, &format!("{path}?{query}"), &headers, &Value::Null)
                .await?;
            all.ensure_nothing(&format!("{path}?{query}"), &answer, &[status])?;
        }
    }
    // What is no parameter names nothing: the caller's own account is meant.
    for query in [format!("Account={own}"), format!("account[]={own}"), format!("x-keyplane-account={own}")] {
        let headers = [("x_keyplane_account", own), ("x-keyplane-accounts", own)];
        let answer =
            all.ask(&all.stranger, Method::GET, &format!("{KEYS}?{query}"), &headers, &Value::Null).await?;
        all.ensure_nothing(&query, &answer, &[200])?;
    }
    all.ensure_unchanged(&before).await
}

#[tokio::test]
async fn what_merely_looks_like_an_account_is_nobodys() -> Result<()> {
    let all = Neighbours::meet("naming-place").await?;
    let own = all.own.account.as_str();
    let header = "x-keyplane-account";
    let web = format!("{own}-web");
    all.own.namespace("web").await?;
    let before = all.keys().await?;
    // The cluster's own namespaces, and what merely looks like an account: nobody has a right there, and administrators
    // find no account.
    for place in [
        "kube-system",
        "default",
        "kube-public",
        "keyplane-system",
        "keyplane-identities",
        &web,
        "there-is-none",
    ] {
        for token in [&all.stranger, &all.owner, &all.viewer] {
            for (method, path) in
                [(Method::GET, KEYS), (Method::POST, KEYS), (Method::GET, NAMESPACES), (Method::GET, PANEL)]
            {
                let body = json!({"name": "x", "scopes": {"all": true}});
                let answer = all.ask(token, method, path, &[(header, place)], &body).await?;
                all.ensure_nothing(place, &answer, &[403])?;
            }
        }
    }
    all.ensure_unchanged(&before).await
}
