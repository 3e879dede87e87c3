//! The steps of `make demo`: the story of one customer and one key.

use anyhow::Result;

use super::demo_http;
use super::walkthrough::{Expect, Walkthrough};

/// Walks through all of it.
///
/// # Errors
/// At the first command that does not come to what it should.
pub(super) async fn walk(walk: &mut Walkthrough) -> Result<()> {
    declare(walk).await?;
    swap(walk).await?;
    stay_within(walk).await?;
    grow(walk).await?;
    deliver(walk).await?;
    lock(walk).await?;
    demo_http::walk(walk).await?;
    revoke(walk).await?;
    leave(walk).await
}

async fn declare(walk: &mut Walkthrough) -> Result<()> {
    walk.step(
        "Keyplane is installed",
        "Four resources, and two ServiceAccounts with no more than the RBAC in charts/keyplane/files.",
    );
    walk.run("kubectl api-resources --api-group=keyplane.dev", Expect::Prints("apikeys")).await?;

    walk.step(
        "The platform team declares a customer",
        "An Account. Keyplane makes its home namespace and lets its owners declare things there.",
    );
    walk.run("kubectl apply -f examples/accounts/", Expect::Prints("acme")).await?;
    walk.run(
        "kubectl wait --for=condition=Ready account/acme --timeout=60s",
        Expect::Prints("condition met"),
    )
    .await?;

    walk.step(
        "The customer declares namespaces, keys and an SSH key, from Git",
        "Only digests of keys are in the manifests. No order is needed; what waits for something says so.",
    );
    walk.run("kubectl apply -f examples/acme/", Expect::Succeeds).await?;
    walk.run(
        "kubectl wait --for=condition=Ready -f examples/acme/ --timeout=60s > /dev/null && kubectl get keyplane -n acme",
        Expect::Prints("edit in web"),
    )
    .await?;
    walk.run(
        "kubectl get resourcequota,limitrange,networkpolicy -n acme-web -o name",
        Expect::Prints("keyplane-isolation"),
    )
    .await?;
    walk.run(
        "kubectl diff -f examples/accounts/ -f examples/acme/ && echo no difference",
        Expect::Prints("no difference"),
    )
    .await?;
    Ok(())
}

async fn swap(walk: &mut Walkthrough) -> Result<()> {
    walk.step(
        "A key is made where it is used",
        "The plugin makes the key and the manifest with its digest. Keyplane never sees the key before its first use.",
    );
    walk.run(
        "kubectl keyplane generate --name demo --namespace acme --kubernetes-namespace web --key-out $DEMO/demo.key > $DEMO/demo.yaml\ncat $DEMO/demo.yaml",
        Expect::Prints("digest: sha256:"),
    )
    .await?;
    walk.run("kubectl apply -f $DEMO/demo.yaml && kubectl wait --for=condition=Ready apikey/demo -n acme --timeout=60s", Expect::Prints("condition met")).await?;

    walk.step(
        "kubectl swaps the key for a short-lived token by itself",
        "The kubeconfig calls kubectl-keyplane, which sends x-api-key to the exchange and keeps the token, not the key.",
    );
    walk.run(
        "kubectl keyplane kubeconfig --key-file $DEMO/demo.key --merge-into $DEMO/demo.kubeconfig",
        Expect::Succeeds,
    )
    .await?;
    walk.run(
        "kubectl --kubeconfig $DEMO/demo.kubeconfig auth whoami",
        Expect::Prints("system:serviceaccount:keyplane-identities:key-"),
    )
    .await?;
    walk.run(
        "kubectl --kubeconfig $DEMO/demo.kubeconfig create deployment shop --image=example.invalid/shop:1",
        Expect::Prints("created"),
    )
    .await?;
    walk.run(
        "kubectl --kubeconfig $DEMO/demo.kubeconfig get deployments,replicasets",
        Expect::Prints("deployment.apps/shop"),
    )
    .await?;
    Ok(())
}

async fn stay_within(walk: &mut Walkthrough) -> Result<()> {
    walk.step(
        "The key reaches exactly what it grants",
        "Not the account's other namespace, not another account's, not the cluster; no tokens of others, no impersonation.",
    );
    for command in [
        "get pods -n acme-jobs",
        "get pods -n acme",
        "get pods -A",
        "create token default",
        "get pods --as=system:serviceaccount:acme-web:default",
    ] {
        walk.run(
            &format!("kubectl --kubeconfig $DEMO/demo.kubeconfig {command}"),
            Expect::FailsWith("orbidden"),
        )
        .await?;
    }
    walk.step(
        "Another account's namespace cannot be had",
        "A second customer names the first one's namespace, by its id. The key says why it grants nothing.",
    );
    walk.run(
        "kubectl create -f - <<END\n{apiVersion: keyplane.dev/v1alpha1, kind: Account, metadata: {name: globex}, spec: {}}\nEND\nkubectl wait --for=condition=Ready account/globex --timeout=60s",
        Expect::Prints("condition met"),
    )
    .await?;
    walk.run(
        "ID=$(kubectl get namespaces.keyplane.dev web -n acme -o jsonpath='{.status.id}')\nkubectl keyplane generate --name thief --namespace globex --namespace-id $ID --key-out $DEMO/thief.key | kubectl apply -f -",
        Expect::Prints("created"),
    )
    .await?;
    walk.eventually("kubectl get apikeys -n globex", Expect::Prints("NamespaceNotOwned")).await?;
    Ok(())
}

async fn grow(walk: &mut Walkthrough) -> Result<()> {
    walk.step(
        "A new namespace joins an all-namespaces key by itself",
        "The key is not touched; its holder reaches the namespace as soon as it stands.",
    );
    walk.run(
        "kubectl keyplane generate --name everywhere --namespace acme --all-namespaces --role view --key-out $DEMO/everywhere.key | kubectl apply -f -\nkubectl wait --for=condition=Ready apikey/everywhere -n acme --timeout=60s",
        Expect::Prints("condition met"),
    )
    .await?;
    walk.run(
        "kubectl keyplane kubeconfig --cluster demo --cluster-server $CLUSTER_URL --cluster-certificate-authority $CLUSTER_CA_FILE \\\n  --key-file $DEMO/everywhere.key --merge-into $DEMO/everywhere.kubeconfig\nkubectl --kubeconfig $DEMO/everywhere.kubeconfig get pods -n acme-jobs",
        Expect::Succeeds,
    )
    .await?;
    walk.run(
        "kubectl apply -f - <<END\n{apiVersion: keyplane.dev/v1alpha1, kind: Namespace, metadata: {name: later, namespace: acme}}\nEND",
        Expect::Prints("created"),
    )
    .await?;
    walk.eventually(
        "kubectl --kubeconfig $DEMO/everywhere.kubeconfig get pods -n acme-later",
        Expect::Prints("No resources found"),
    )
    .await?;
    Ok(())
}

async fn deliver(walk: &mut Walkthrough) -> Result<()> {
    walk.step(
        "Keyplane makes a key and delivers it",
        "The key `deploy` of examples/acme asks for a Secret. It holds the key and a kubeconfig that is ready for use.",
    );
    walk.run(
        "kubectl get secret deploy-key -n acme -o jsonpath='{.data.kubeconfig}' | base64 -d > $DEMO/deploy.kubeconfig\nkubectl --kubeconfig $DEMO/deploy.kubeconfig get pods",
        Expect::Prints("No resources found in acme-jobs"),
    )
    .await?;

    walk.step(
        "Rotation",
        "A later requestedAt, and there is another key in the Secret. The one before works for an hour longer, as declared.",
    );
    walk.run(
        r#"kubectl patch apikey deploy -n acme --type=merge -p "{\"spec\":{\"rotation\":{\"requestedAt\":\"$(date -u +%FT%TZ)\"}}}""#,
        Expect::Prints("patched"),
    )
    .await?;
    walk.eventually(
        "kubectl get apikey deploy -n acme -o jsonpath='{.status.version}'",
        Expect::Prints("\"number\":2"),
    )
    .await?;
    walk.run(
        "kubectl --kubeconfig $DEMO/deploy.kubeconfig get pods",
        Expect::Prints("No resources found in acme-jobs"),
    )
    .await?;
    Ok(())
}

async fn lock(walk: &mut Walkthrough) -> Result<()> {
    walk.step(
        "A key that turns up elsewhere",
        "It may be used from one network only. The third use from somewhere else locks it, and takes away what it had.",
    );
    walk.run(
        "kubectl keyplane generate --name office --namespace acme --kubernetes-namespace web --key-out $DEMO/office.key | kubectl apply -f -\nkubectl patch apikey office -n acme --type=merge -p '{\"spec\":{\"allowedCidrs\":[\"203.0.113.0/24\"]}}'\nkubectl wait --for=condition=Ready apikey/office -n acme --timeout=60s",
        Expect::Prints("condition met"),
    )
    .await?;
    walk.eventually(
        "kubectl keyplane get-token --no-cache --key-file $DEMO/office.key",
        Expect::FailsWith("key is locked"),
    )
    .await?;
    walk.eventually("kubectl get apikey office -n acme", Expect::Prints("Locked")).await?;
    walk.run(
        "kubectl describe apikey office -n acme | sed -n '/Security Events/,$p'",
        Expect::Prints("127.0.0.1"),
    )
    .await?;

    walk.step(
        "Its owner looks, mends the list, and unlocks it",
        "The key is the same one; nothing has to be handed out again.",
    );
    walk.run(
        r#"kubectl patch apikey office -n acme --type=merge -p '{"spec":{"allowedCidrs":["203.0.113.0/24","127.0.0.0/8"]}}'"#,
        Expect::Prints("patched"),
    )
    .await?;
    walk.eventually(
        r#"kubectl patch apikey office -n acme --type=merge -p "{\"spec\":{\"unlockedAt\":\"$(date -u +%FT%TZ)\"}}" && kubectl keyplane get-token --no-cache --key-file $DEMO/office.key > $DEMO/office.token && echo it works again"#,
        Expect::Prints("it works again"),
    )
    .await?;
    Ok(())
}

async fn revoke(walk: &mut Walkthrough) -> Result<()> {
    walk.step(
        "Revocation",
        "The exchange refuses at once. The token handed out before is Forbidden when the RoleBindings are gone, and\n\
         dead when the API server forgets it, within ten seconds.",
    );
    // The API server remembers for ten seconds that it has just seen the token: so there is something to be Forbidden.
    walk.run("kubectl --kubeconfig $DEMO/demo.kubeconfig get pods", Expect::Succeeds).await?;
    walk.run("kubectl keyplane apikeys revoke demo -n acme --yes", Expect::Prints("revoked")).await?;
    walk.eventually("kubectl --kubeconfig $DEMO/demo.kubeconfig get pods", Expect::FailsWith("orbidden"))
        .await?;
    walk.eventually(
        "kubectl keyplane get-token --no-cache --key-file $DEMO/demo.key",
        Expect::FailsWith("the key was revoked"),
    )
    .await?;
    walk.eventually(
        "kubectl --kubeconfig $DEMO/demo.kubeconfig get pods",
        Expect::FailsWith("the key was revoked"),
    )
    .await?;
    walk.run("kubectl get apikeys -n acme", Expect::Prints("Revoked")).await?;
    walk.run(
        r#"kubectl patch apikey demo -n acme --type=merge -p '{"spec":{"revoked":false}}'"#,
        Expect::FailsWith("Revoked keys cannot be re-enabled"),
    )
    .await?;
    walk.run(
        "kubectl delete apikey demo -n acme && kubectl apply -f $DEMO/demo.yaml",
        Expect::Prints("created"),
    )
    .await?;
    walk.eventually("kubectl get apikeys -n acme", Expect::Prints("DigestRevoked")).await?;
    Ok(())
}

async fn leave(walk: &mut Walkthrough) -> Result<()> {
    walk.step("The customer leaves", "Deleting the Account takes everything of it along, and nothing else.");
    walk.run("kubectl delete account acme globex --timeout=120s", Expect::Prints("deleted")).await?;
    walk.eventually("kubectl get namespaces -l keyplane.dev/account -o name | wc -l", Expect::Prints("0"))
        .await?;
    walk.run(
        "kubectl get rolebindings -A -l app.kubernetes.io/managed-by=keyplane -o name | wc -l",
        Expect::Prints("0"),
    )
    .await?;
    walk.run("kubectl get serviceaccounts,secrets -n keyplane-identities -o name", Expect::PrintsNot("key-"))
        .await?;
    Ok(())
}
