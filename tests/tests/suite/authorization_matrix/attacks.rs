//! What somebody tries who wants more than the matrix gives: other paths, other methods, other ways to name an account, other
//! headers, rights for a few names only, accounts that are strange or going.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use keyplane_tests::http_api::{HttpAnswer, HttpApi};
use keyplane_tests::shared::shared_keyplane;
use keyplane_tests::tenant::Tenant;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::operations::{KEYS, NAMESPACES, PANEL, public_key};
use super::outcome::told;
use super::stage::person;

/// An account with a key that stands still, another one, and the people of both.
struct Neighbours {
    own: Tenant,
    other: Tenant,
    http: HttpApi,
    owner: String,
    stranger: String,
    viewer: String,
    /// The ids of two keys.
    one: String,
    two: String,
}

impl Neighbours {
    async fn meet(name: &str) -> Result<Self> {
        let shared = shared_keyplane().await?;
        let neighbour = format!("{name}-else");
        let (own, other) = tokio::try_join!(
            Tenant::create(shared.cluster, &shared.keyplane, name),
            Tenant::create(shared.cluster, &shared.keyplane, &neighbour)
        )?;
        for key in ["one", "two"] {
            own.key(key, &["--scope", "inference"]).await?;
        }
        let id = async |name: &str| own.stored_key(name).await?.uid().context("a UID");
        let (one, two) = (id("one").await?, id("two").await?);
        let (owner, stranger, viewer) =
            (own.owner_token().await?, other.owner_token().await?, own.viewer_token().await?);
        Ok(Self { http: own.http()?, own, other, owner, stranger, viewer, one, two })
    }

    async fn ask(
        &self,
        token: &str,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<HttpAnswer> {
        let bearer = format!("Bearer {token}");
        let mut all = vec![("authorization", bearer.as_str())];
        all.extend(headers);
        self.http.json(method, path, &all, body).await
    }

    /// Both keys and the number of all, as they are stored.
    async fn keys(&self) -> Result<String> {
        let home = format!("--namespace={}", self.own.account);
        self.own.kubectl.run(["get", "apikeys,sshkeys,namespaces.keyplane.dev", &home, "--output=json"]).await
    }

    /// An answer that lets nobody in and tells nothing.
    fn ensure_nothing(&self, what: &str, answer: &HttpAnswer, statuses: &[u16]) -> Result<()> {
        ensure!(statuses.contains(&answer.status), "{what}: {statuses:?} expected: {}", told(answer));
        ensure!(!answer.text.contains(&self.one), "{what}: {}", told(answer));
        Ok(())
    }
}

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
    ensure!(before == all.keys().await?, "something changed");
    Ok(())
}

#[tokio::test]
async fn an_account_is_named_once_and_nobody_is_let_in_by_the_way_they_name_it() -> Result<()> {
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
    // The cluster's own namespaces, and what merely looks like an account: nobody has a right there, and administrators
    // find no account.
    let web = format!("{own}-web");
    all.own.namespace("web").await?;
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
    all.own.kubectl.run(["delete", "namespaces.keyplane.dev", "web", "--namespace", own]).await?;
    let after = all.keys().await?;
    let names = |text: &str| -> Result<Vec<String>> {
        let read: Value = serde_json::from_str(text)?;
        let items = read.pointer("/items").and_then(Value::as_array).context("items")?.clone();
        Ok(items
            .iter()
            .map(|item| item.pointer("/metadata").cloned().unwrap_or_default().to_string())
            .collect())
    };
    ensure!(names(&before)? == names(&after)?, "something changed");
    Ok(())
}

/// Rights that somebody is given in a home namespace, and what they let do over HTTP: what they let do with kubectl.
#[tokio::test]
async fn rights_for_a_few_names_or_verbs_are_rights_for_these_and_no_others() -> Result<()> {
    let all = Neighbours::meet("few").await?;
    let own = all.own.account.clone();
    let rules = [
        (
            "named",
            r#"{apiGroups: [keyplane.dev], resources: [apikeys], resourceNames: [one], verbs: [get, patch, delete, list]}"#,
        ),
        ("creates", r#"{apiGroups: [keyplane.dev], resources: [apikeys], verbs: [create]}"#),
        (
            "statuses",
            r#"{apiGroups: [keyplane.dev], resources: ["apikeys/status", "apikeys/*"], verbs: ["*"]}"#,
        ),
        (
            "groups",
            r#"{apiGroups: ["", apps, example.dev], resources: [apikeys, namespaces, sshkeys], verbs: ["*"]}"#,
        ),
        ("updates", r#"{apiGroups: [keyplane.dev], resources: [apikeys], verbs: [get, update]}"#),
        ("namespaces", r#"{apiGroups: [keyplane.dev], resources: [namespaces], verbs: ["*"]}"#),
    ];
    let mut tokens = Vec::new();
    let mut manifests = Vec::new();
    for (name, rule) in rules {
        let who = format!("{own}-{name}");
        tokens.push(person(&all.own, &who).await?);
        manifests.push(format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: {name}, namespace: {own}}}\nrules: [{rule}]\n---\n\
             apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: {name}, namespace: {own}}}\nroleRef: \
             {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {name}}}\nsubjects: [{{kind: ServiceAccount, name: {who}, \
             namespace: default}}]\n"
        ));
    }
    all.own.kubectl.apply(&manifests.join("---\n")).await?;
    let [named, creates, statuses, groups, updates, namespaces]: [String; 6] =
        tokens.try_into().ok().context("six people")?;
    let naming = [("x-keyplane-account", own.as_str())];
    until("the rights to be there", PATIENCE, || async {
        let answer = all.ask(&namespaces, Method::GET, NAMESPACES, &naming, &Value::Null).await?;
        Ok(if answer.status == 200 { Seen::Done(()) } else { Seen::NotYet(told(&answer)) })
    })
    .await?;

    let (one, two) = (format!("{KEYS}/{}", all.one), format!("{KEYS}/{}", all.two));
    let none = format!("{KEYS}/{}", uuid::Uuid::new_v4());
    let of = |path: &str, what: &str| format!("{path}/{what}");
    let new = json!({"name": "x", "scopes": {"inference": true}});
    let rename = json!({"name": "renamed"});
    let nothing = Value::Null;
    let before = all.keys().await?;
    // Refused, in whatever order.
    for (who, token, rows) in [
        (
            "named",
            &named,
            vec![
                (Method::GET, KEYS.to_owned(), &nothing),
                (Method::POST, KEYS.to_owned(), &new),
                (Method::GET, two.clone(), &nothing),
                (Method::GET, none.clone(), &nothing),
                (Method::PATCH, two.clone(), &rename),
                (Method::PATCH, none.clone(), &rename),
                (Method::POST, of(&two, "rotate"), &nothing),
                (Method::POST, of(&two, "revoke"), &nothing),
                (Method::POST, of(&two, "unlock"), &nothing),
                (Method::DELETE, two.clone(), &nothing),
                (Method::DELETE, none.clone(), &nothing),
                (Method::GET, NAMESPACES.to_owned(), &nothing),
                (Method::GET, PANEL.to_owned(), &nothing),
            ],
        ),
        (
            "creates",
            &creates,
            vec![
                (Method::GET, KEYS.to_owned(), &nothing),
                (Method::GET, one.clone(), &nothing),
                (Method::PATCH, one.clone(), &rename),
                (Method::POST, of(&one, "rotate"), &nothing),
                (Method::DELETE, one.clone(), &nothing),
            ],
        ),
        (
            "statuses",
            &statuses,
            vec![
                (Method::GET, KEYS.to_owned(), &nothing),
                (Method::GET, one.clone(), &nothing),
                (Method::PATCH, one.clone(), &rename),
                (Method::POST, of(&one, "unlock"), &nothing),
                (Method::POST, KEYS.to_owned(), &new),
                (Method::DELETE, one.clone(), &nothing),
            ],
        ),
        (
            "groups",
            &groups,
            vec![
                (Method::GET, KEYS.to_owned(), &nothing),
                (Method::POST, KEYS.to_owned(), &new),
                (Method::DELETE, one.clone(), &nothing),
                (Method::GET, NAMESPACES.to_owned(), &nothing),
                (Method::POST, NAMESPACES.to_owned(), &rename),
                (Method::GET, PANEL.to_owned(), &nothing),
            ],
        ),
        (
            "updates",
            &updates,
            vec![
                (Method::GET, KEYS.to_owned(), &nothing),
                (Method::PATCH, one.clone(), &rename),
                (Method::POST, of(&one, "revoke"), &nothing),
                (Method::POST, of(&one, "rotate"), &nothing),
                (Method::DELETE, one.clone(), &nothing),
            ],
        ),
        (
            "namespaces",
            &namespaces,
            vec![
                (Method::GET, KEYS.to_owned(), &nothing),
                (Method::POST, KEYS.to_owned(), &new),
                (Method::GET, one.clone(), &nothing),
                (Method::GET, PANEL.to_owned(), &nothing),
            ],
        ),
    ] {
        for (method, path, body) in rows {
            let answer = all.ask(token, method.clone(), &path, &naming, body).await?;
            all.ensure_nothing(&format!("{who}: {method} {path}"), &answer, &[403])?;
        }
    }
    ensure!(before == all.keys().await?, "something changed");
    // Allowed.
    for (who, token, method, path, body, status) in [
        ("named", &named, Method::GET, &one, &nothing, 200),
        ("updates", &updates, Method::GET, &one, &nothing, 200),
        ("named", &named, Method::PATCH, &one, &rename, 200),
        ("creates", &creates, Method::POST, &KEYS.to_owned(), &new, 201),
        ("named", &named, Method::DELETE, &one, &nothing, 204),
    ] {
        let answer = all.ask(token, method.clone(), path, &naming, body).await?;
        ensure!(answer.status == status, "{who}: {method} {path}: {}", told(&answer));
    }
    Ok(())
}

#[tokio::test]
async fn a_body_says_nothing_but_its_fields_and_a_retrys_name_is_the_accounts_own() -> Result<()> {
    let all = Neighbours::meet("bodies").await?;
    let before = all.keys().await?;
    let bearer = format!("Bearer {}", all.owner);
    let one = format!("{KEYS}/{}", all.one);
    for (method, path, body) in [
        (Method::POST, KEYS, r#"{"name":"a","name":"b","scopes":{"inference":true}}"#),
        (Method::POST, KEYS, r#"{"name":"a","scopes":{"inference":true},"scopes":{"all":true}}"#),
        (Method::POST, KEYS, r#"{"name":"a","scopes":{"inference":true,"inference":true}}"#),
        (Method::POST, KEYS, r#"{"name":"a","scopes":{"inference":true,"\u0061ll":true}}"#),
        (
            Method::POST,
            KEYS,
            r#"{"name":"a","scopes":{"inference":true},"metadata":{"namespace":"kube-system"}}"#,
        ),
        (Method::POST, KEYS, r#"{"name":"a","scopes":{"inference":true},"account":"other"}"#),
        (Method::POST, KEYS, r#"{"name":"a","scopes":{"inference":true},"digest":"sha256:0"}"#),
        (Method::POST, KEYS, r#"{"name":"a","scopes":{"inference":true}}{"name":"b"}"#),
        (Method::PATCH, &one, r#"{"spec":{"scope":{"all":true}}}"#),
        (Method::PATCH, &one, r#"{"name":"a","revoked":false}"#),
        (Method::PATCH, &one, r#"{"name":"a","metadata":{"annotations":{"a":"b"}}}"#),
        (Method::PATCH, &one, r#"{"name":"a","name":"b"}"#),
        (Method::PATCH, &one, r#"[{"op":"replace","path":"/spec/scope","value":{"all":true}}]"#),
        (Method::PATCH, &one, r#"{"id":"x"}"#),
        (Method::POST, NAMESPACES, r#"{"name":"a","name":"b"}"#),
        (Method::POST, NAMESPACES, r#"{"name":"../kube-system"}"#),
        (Method::POST, NAMESPACES, r#"{"name":"a/b"}"#),
        (Method::POST, NAMESPACES, r#"{"name":"A"}"#),
        (Method::POST, NAMESPACES, r#"{"name":"a\u0000"}"#),
        (Method::POST, NAMESPACES, r#"{"name":"a","spec":{}}"#),
        (Method::POST, NAMESPACES, r#"{"name":""}"#),
    ] {
        for kind in ["application/json", "application/merge-patch+json", "text/plain"] {
            let headers = [("authorization", bearer.as_str()), ("content-type", kind)];
            let answer = all.http.send(method.clone(), path, &headers, body.as_bytes()).await?;
            ensure!(answer.status == 400, "{method} {path} {body}: {}", told(&answer));
        }
    }
    ensure!(before == all.keys().await?, "something changed");

    // A name is shown and is no path, no field and no other object's name.
    for name in [
        "../../default/apikeys/x",
        "two",
        "a\",\"b\":\"c",
        "\u{202e}kcab",
        "a: b\n---\nkind: Secret",
        "${HOME}",
        "%2e%2e",
    ] {
        let body = json!({"name": name, "scopes": {"inference": true}});
        let answer = all.ask(&all.owner, Method::POST, KEYS, &[], &body).await?;
        if answer.status == 400 {
            continue;
        }
        ensure!(answer.status == 201 && answer.at("/name").as_deref() == Some(name), "{}", told(&answer));
        let found = all
            .ask(
                &all.owner,
                Method::DELETE,
                &format!("{KEYS}/{}", answer.at("/id").context("an id")?),
                &[],
                &Value::Null,
            )
            .await?;
        ensure!(found.status == 204, "{}", told(&found));
    }
    ensure!(all.own.stored_key("two").await?.uid().as_deref() == Some(&*all.two));

    // The same name for a retry in two accounts makes two keys, and neither's owner sees the other's.
    let retry = [("idempotency-key", "the-same-in-both")];
    let body = json!({"name": "x", "scopes": {"inference": true}});
    let mut ids = Vec::new();
    for token in [&all.owner, &all.stranger] {
        let answer = all.ask(token, Method::POST, KEYS, &retry, &body).await?;
        ensure!(answer.status == 201, "{}", told(&answer));
        let again = all.ask(token, Method::POST, KEYS, &retry, &body).await?;
        ensure!(again.status == 200 && again.at("/id") == answer.at("/id") && again.at("/key").is_none());
        ids.push(answer.at("/id"));
    }
    ensure!(ids.first() != ids.last(), "{ids:?}");
    // Somebody who may only read learns by it neither that it was used nor for what.
    let naming = [("x-keyplane-account", all.own.account.as_str()), retry[0]];
    for token in [&all.viewer, &all.stranger] {
        let answer = all.ask(token, Method::POST, KEYS, &naming, &body).await?;
        all.ensure_nothing("a retry", &answer, &[403])?;
    }
    Ok(())
}

#[tokio::test]
async fn whom_the_cluster_does_not_know_owns_nothing_and_an_account_that_goes_takes_its_people_along()
-> Result<()> {
    let all = Neighbours::meet("going").await?;
    let account = all.own.account.as_str();
    // The names that Kubernetes gives to those who say nothing of who they are.
    let person = format!("{account}-person");
    let owners = json!({"spec": {"owners": [
        {"kind": "User", "name": "system:anonymous"},
        {"kind": "Group", "name": "system:unauthenticated"},
        {"kind": "ServiceAccount", "name": person, "namespace": "default"},
    ]}});
    all.own.kubectl.run(["patch", "account", account, "--type=merge", "-p", &owners.to_string()]).await?;
    all.own.wait_ready(&format!("account/{account}")).await?;
    let naming = [("x-keyplane-account", account)];
    for path in [KEYS, NAMESPACES, PANEL] {
        let answer = all.http.send(Method::GET, path, &naming, b"").await?;
        all.ensure_nothing(path, &answer, &[401])?;
        let headers = [naming[0], ("authorization", "Bearer system:anonymous")];
        let answer = all.http.send(Method::GET, path, &headers, b"").await?;
        all.ensure_nothing(path, &answer, &[401])?;
    }
    // An owner who is taken away is refused.
    let ssh = all.own.key("ssh", &["--scope", "ssh-keys"]).await?.plaintext()?;
    let answer = all.ask(&all.owner, Method::GET, KEYS, &naming, &Value::Null).await?;
    ensure!(answer.status == 200, "{}", told(&answer));
    let owners = json!({"spec": {"owners": [{"kind": "User", "name": all.own.owner()}]}});
    all.own.kubectl.run(["patch", "account", account, "--type=merge", "-p", &owners.to_string()]).await?;
    until("the former owner to be refused", PATIENCE, || async {
        let (unnamed, named) = (
            all.ask(&all.owner, Method::GET, KEYS, &[], &Value::Null).await?.status,
            all.ask(&all.owner, Method::GET, KEYS, &naming, &Value::Null).await?.status,
        );
        Ok(if (unnamed, named) == (400, 403) {
            Seen::Done(())
        } else {
            Seen::NotYet(format!("{unnamed} {named}"))
        })
    })
    .await?;
    let owners =
        json!({"spec": {"owners": [{"kind": "ServiceAccount", "name": person, "namespace": "default"}]}});
    all.own.kubectl.run(["patch", "account", account, "--type=merge", "-p", &owners.to_string()]).await?;
    until("the owner to be back", PATIENCE, || async {
        let answer = all.ask(&all.owner, Method::GET, KEYS, &[], &Value::Null).await?;
        Ok(if answer.status == 200 { Seen::Done(()) } else { Seen::NotYet(told(&answer)) })
    })
    .await?;

    // An account that is deleted and whose home namespace is held: it is nobody's to choose, and nothing new comes to it.
    let home = format!("--namespace={account}");
    let held = r#"{"metadata":{"finalizers":["example.com/held"]}}"#;
    all.own.kubectl.run(["create", "configmap", "held", &home]).await?;
    all.own.kubectl.run(["patch", "configmap", "held", &home, "--type=merge", "-p", held]).await?;
    all.own.kubectl.run(["delete", "account", account, "--wait=false"]).await?;
    until("the account to be nobody's choice", PATIENCE, || async {
        let answer = all.ask(&all.owner, Method::GET, KEYS, &[], &Value::Null).await?;
        Ok(if answer.status == 400 { Seen::Done(()) } else { Seen::NotYet(told(&answer)) })
    })
    .await?;
    let new = json!({"name": "late", "scopes": {"all": true}});
    let late = json!({"name": "late", "publicKey": public_key()});
    until("nothing new to come to it", PATIENCE, || async {
        let key = all.ask(&all.owner, Method::POST, KEYS, &naming, &new).await?;
        let namespace =
            all.ask(&all.owner, Method::POST, NAMESPACES, &naming, &json!({"name": "late"})).await?;
        let by_owner = all.ask(&all.owner, Method::POST, PANEL, &naming, &late).await?;
        let bearer = format!("Bearer {ssh}");
        let by_key = all.http.json(Method::POST, PANEL, &[("authorization", &bearer)], &late).await?;
        let statuses = [key.status, namespace.status, by_owner.status, by_key.status];
        println!("an account that goes: {statuses:?}");
        ensure!(!statuses.iter().any(|status| *status == 500), "{statuses:?}");
        let is_refused = statuses.iter().all(|status| *status >= 400) && by_key.status == 401;
        Ok(if is_refused { Seen::Done(()) } else { Seen::NotYet(format!("{statuses:?}")) })
    })
    .await?;
    let freed = r#"{"metadata":{"finalizers":null}}"#;
    all.own.kubectl.run(["patch", "configmap", "held", &home, "--type=merge", "-p", freed]).await?;
    until("the former owner to be told as of any other account", PATIENCE, || async {
        let answer = all.ask(&all.owner, Method::GET, KEYS, &naming, &Value::Null).await?;
        Ok(if answer.status == 403 { Seen::Done(()) } else { Seen::NotYet(told(&answer)) })
    })
    .await
}
