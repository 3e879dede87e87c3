//! The steps of `make demo` over HTTP: what people do without kubectl, and what a gateway asks.

use anyhow::Result;

use super::walkthrough::{Expect, Walkthrough};

/// Walks through them.
///
/// # Errors
/// At the first command that does not come to what it should.
pub(super) async fn walk(walk: &mut Walkthrough) -> Result<()> {
    walk.step(
        "The same over HTTP",
        "Whoever RBAC lets declare keys may do so over HTTP, with an access token of the cluster. Here a ServiceAccount\n\
         stands in for a person: it is made an owner of the account.",
    );
    walk.run(
        "kubectl create serviceaccount ada -n default && kubectl patch account acme --type=json \\\n  \
         -p '[{\"op\":\"add\",\"path\":\"/spec/owners/-\",\"value\":{\"kind\":\"ServiceAccount\",\"name\":\"ada\",\"namespace\":\"default\"}}]'",
        Expect::Prints("patched"),
    )
    .await?;
    walk.eventually(
        "kubectl auth can-i create apikeys.keyplane.dev -n acme --as=system:serviceaccount:default:ada",
        Expect::Prints("yes"),
    )
    .await?;
    walk.run(
        "(umask 077; printf 'header = \"authorization: Bearer %s\"\\n' \"$(kubectl create token ada -n default)\" > $DEMO/ada.curl)\n\
         (umask 077; curl -sS --fail-with-body --cacert $KEYPLANE_CA_FILE -K $DEMO/ada.curl $KEYPLANE_URL/v1/account/api-keys \\\n  \
         -d '{\"name\": \"Image shop\", \"scopes\": {\"inference\": true}}' > $DEMO/shop.json)\n\
         kubectl get apikeys -n acme",
        Expect::Prints("image-shop-"),
    )
    .await?;

    walk.step(
        "A gateway asks whether a key may pass",
        "nginx, Caddy, Traefik and Envoy ask like this for each request: see examples/gateways.",
    );
    walk.run(
        "(umask 077; sed 's/.*\"key\":\"\\([^\"]*\\)\".*/header = \"x-api-key: \\1\"/' $DEMO/shop.json > $DEMO/shop.curl)\n\
         curl -sS -D - -K $DEMO/shop.curl \"$KEYPLANE_INTERNAL_URL/v1/verify?scope=inference\"",
        Expect::Prints("x-keyplane-account: acme"),
    )
    .await?;
    walk.run(
        "curl -sS -D - -K $DEMO/shop.curl \"$KEYPLANE_INTERNAL_URL/v1/verify?scope=kubernetes_exec\"",
        Expect::Prints("403 Forbidden"),
    )
    .await?;
    walk.run(
        "id=$(sed 's/.*\"id\":\"\\([^\"]*\\)\".*/\\1/' $DEMO/shop.json)\n\
         curl -sS --cacert $KEYPLANE_CA_FILE -K $DEMO/ada.curl -X POST $KEYPLANE_URL/v1/account/api-keys/$id/revoke",
        Expect::Prints("\"status\":\"revoked\""),
    )
    .await?;
    walk.eventually(
        "curl -sS -D - -K $DEMO/shop.curl \"$KEYPLANE_INTERNAL_URL/v1/verify?scope=inference\"",
        Expect::Prints("401 Unauthorized"),
    )
    .await?;
    Ok(())
}
