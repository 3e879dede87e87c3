//! Other ways to write a path, and other methods.

use anyhow::{Result, ensure};
use http::Method;
use keyplane_tests::http_api::HttpAnswer;
use serde_json::{Value, json};

use super::Neighbours;
use crate::authorization_matrix::operations::{KEYS, NAMESPACES, PANEL};
use crate::authorization_matrix::outcome::told;

/// A server that does not read a body to its end closes the connection, which a client may learn when it asks next.
async fn again(ask: impl AsyncFn() -> Result<HttpAnswer>) -> Result<HttpAnswer> {
    match ask().await {
        Ok(answer) => Ok(answer),
        Err(_) => ask().await,
    }
}

#[tokio::test]
async fn no_other_way_to_write_a_path_and_no_other_method_leads_past_the_checks() -> Result<()> {
    let all = Neighbours::meet("paths").await?;
    let before = all.keys().await?;
    let naming = [("x-keyplane-account", all.own.account.as_str())];
    let one = format!("{KEYS}/{}", all.one);
    let paths = [
        "//v1//account/api-keys",
        "//v1/account/api-keys",
        "/v1//account/api-keys",
        "/v1/account/api-keys/",
        "/V1/account/api-keys",
        "/v1/Account/API-Keys",
        "/v1/account/api-keys;a=b",
        "/v1/account/api-keys%00",
        "/v1/account/api-keys%2f",
        "/v1/account%2fapi-keys",
        "/v1/./account/api-keys",
        "/v1/x/../account/api-keys",
        "/v1/%61ccount/api-keys",
        "/v1/account/api-keys/%2e",
        "/v1/account/api-keys/.",
        "/v1/account/namespaces/../api-keys",
        "/v1/verify/../account/api-keys",
        "/v1/account",
        "/v1",
        "/",
        "/api/v1/account/api-keys",
        "/v1/account/api-keys.json",
    ];
    for path in paths {
        for method in [Method::GET, Method::POST, Method::PATCH, Method::DELETE] {
            let answer =
                again(async || all.http.json(method.clone(), path, &[], &json!({"name": "x"})).await).await?;
            all.ensure_nothing(&format!("nobody: {method} {path}"), &answer, &[401, 404, 405])?;
            let answer = again(async || {
                all.ask(&all.stranger, method.clone(), path, &naming, &json!({"name": "x"})).await
            })
            .await?;
            all.ensure_nothing(&format!("stranger: {method} {path}"), &answer, &[401, 403, 404, 405])?;
        }
    }
    let methods = ["HEAD", "OPTIONS", "TRACE", "PUT", "PROPFIND", "COPY", "get", "QUERY"];
    for method in methods {
        for path in [
            KEYS,
            &one,
            NAMESPACES,
            PANEL,
            "/gpu-cloud/ssh-keys",
            "/v1/kubernetes/kubeconfig",
            "/v1/kubernetes/exec-credential",
        ] {
            let method = Method::from_bytes(method.as_bytes())?;
            let answer = again(async || all.http.send(method.clone(), path, &[], b"").await).await?;
            all.ensure_nothing(&format!("nobody: {method} {path}"), &answer, &[401, 403, 404, 405])?;
            let answer =
                again(async || all.ask(&all.stranger, method.clone(), path, &naming, &Value::Null).await)
                    .await?;
            all.ensure_nothing(&format!("stranger: {method} {path}"), &answer, &[401, 403, 404, 405])?;
        }
    }
    for over in ["x-http-method-override", "x-http-method", "x-method-override"] {
        let headers = [naming[0], (over, "DELETE")];
        let answer = all.ask(&all.owner, Method::GET, &one, &headers, &Value::Null).await?;
        ensure!(answer.status == 200, "{over}: {}", told(&answer));
        let headers = [naming[0], (over, "GET")];
        let answer = all.ask(&all.viewer, Method::DELETE, &one, &headers, &Value::Null).await?;
        all.ensure_nothing(over, &answer, &[403])?;
    }
    all.ensure_unchanged(&before).await
}
