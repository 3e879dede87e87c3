//! Which scope a gateway requires, by query and by header: all that is named must be in the key's.

use anyhow::Result;
use http::Method;
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::HeldKey;

use super::{ensure_answer, ensure_identity, ports, tenant, until_known};

const SCOPES: [&str; 4] = ["all", "inference", "ssh_keys", "kubernetes_exec"];

/// A path, headers besides the key, and the status of the answer.
type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], u16);

/// Whether a key of this scope has what is required.
fn includes(scope: &str, required: Option<&str>) -> bool {
    scope == "all" || required.is_none_or(|required| required == scope)
}

#[tokio::test]
async fn a_key_is_good_for_its_own_scope_and_all_for_each_however_the_gateway_asks() -> Result<()> {
    let own = tenant("scopes").await?;
    let shared = shared_keyplane().await?;
    own.namespace("web").await?;
    let arguments: [&[&str]; 4] = [
        &["--scope", "all"],
        &["--scope", "inference"],
        &["--scope", "ssh-keys"],
        &["--kubernetes-namespace", "web"],
    ];
    let mut keys: Vec<(&str, HeldKey)> = Vec::new();
    for (scope, arguments) in SCOPES.iter().zip(arguments) {
        keys.push((*scope, own.key(&scope.replace('_', "-"), arguments).await?));
    }
    let newest = own.key("newest", &["--scope", "inference"]).await?;
    until_known(&shared.keyplane, &newest).await?;

    let required: Vec<Option<&str>> = std::iter::once(None).chain(SCOPES.map(Some)).collect();
    for (port, api) in ports(&shared.keyplane)? {
        for (scope, key) in &keys {
            let plaintext = key.plaintext()?;
            for by_query in &required {
                for by_header in &required {
                    let path =
                        by_query.map_or("/v1/verify".to_owned(), |by| format!("/v1/verify?scope={by}"));
                    let mut headers = vec![("x-api-key", plaintext.as_str())];
                    headers.extend(by_header.map(|by| ("x-keyplane-require-scope", by)));
                    let answer = api.send(Method::GET, &path, &headers, b"").await?;
                    let is_included = includes(scope, *by_query) && includes(scope, *by_header);
                    let what = format!("{port}: {scope}, query {by_query:?}, header {by_header:?}");
                    ensure_answer(&what, &answer, if is_included { 200 } else { 403 })?;
                    if is_included {
                        ensure_identity(&own, &answer, key, scope).await?;
                    }
                }
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_scope_that_there_is_not_is_the_gateways_mistake_and_no_permission() -> Result<()> {
    let own = tenant("no-scope").await?;
    let shared = shared_keyplane().await?;
    let key = own.key("ci", &["--scope", "inference"]).await?;
    until_known(&shared.keyplane, &key).await?;
    let plaintext = key.plaintext()?;
    let name = "x-keyplane-require-scope";
    let rows: [Row<'_>; 26] = [
        ("/v1/verify?scope=gpu", &[], 400),
        ("/v1/verify?scope=", &[], 400),
        ("/v1/verify?scope", &[], 400),
        ("/v1/verify?scope=Inference", &[], 400),
        ("/v1/verify?scope=inference,ssh_keys", &[], 400),
        ("/v1/verify?scope=sshKeys", &[], 400),
        ("/v1/verify?scope=inference&scope=gpu", &[], 400),
        ("/v1/verify?scope=gpu&scope=inference", &[], 400),
        ("/v1/verify", &[(name, "gpu")], 400),
        ("/v1/verify", &[(name, "")], 400),
        ("/v1/verify", &[(name, "inference, ssh_keys")], 400),
        ("/v1/verify?scope=inference", &[(name, "gpu")], 400),
        ("/v1/verify?scope=gpu", &[(name, "inference")], 400),
        // Of several all must hold, whichever comes first.
        ("/v1/verify?scope=inference&scope=ssh_keys", &[], 403),
        ("/v1/verify?scope=ssh_keys&scope=inference", &[], 403),
        ("/v1/verify?scope=inference&scope=inference", &[], 200),
        ("/v1/verify", &[(name, "inference"), (name, "ssh_keys")], 403),
        ("/v1/verify", &[(name, "inference"), (name, "inference")], 200),
        // A slip in a gateway's configuration must not require nothing.
        ("/v1/verify?scopes=inference", &[], 400),
        ("/v1/verify?scope=inference&a=b", &[], 400),
        ("/v1/verify?scope=inference&", &[], 200),
        // Behind a path the query is the client's.
        ("/v1/verify/v1/chat?scope=gpu", &[], 200),
        ("/v1/verify/v1/chat?scope=ssh_keys", &[], 200),
        ("/v1/verify/v1/chat", &[(name, "ssh_keys")], 403),
        ("/v1/verify/v1/chat?scope=inference", &[(name, "ssh_keys")], 403),
        ("/v1/verify/v1/chat", &[(name, "gpu")], 400),
    ];
    for (port, api) in ports(&shared.keyplane)? {
        for (path, more, status) in rows {
            let headers: Vec<_> =
                [("x-api-key", plaintext.as_str())].into_iter().chain(more.iter().copied()).collect();
            let answer = api.send(Method::GET, path, &headers, b"").await?;
            ensure_answer(&format!("{port}: {path}, {more:?}"), &answer, status)?;
        }
    }
    Ok(())
}
