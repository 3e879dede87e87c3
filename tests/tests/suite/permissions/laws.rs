//! What is decided by the manifests alone.

use std::collections::BTreeMap;

use std::collections::BTreeSet;

use anyhow::Result;
use keyplane_tests::permissions::{DELIVERY_ROLE, Grant, OWNER_ROLE, Shipped, bindable_roles, document};
use keyplane_tests::workspace;

const IDENTITIES: &str = "keyplane-identities";
const API: &str = "ServiceAccount keyplane-system/keyplane-api";
const CONTROLLER: &str = "ServiceAccount keyplane-system/keyplane-controller";

fn grants() -> Result<Vec<Grant>> {
    Shipped::read()?.grants()
}

/// The grants that break a law, as text.
fn breaking(law: impl Fn(&Grant) -> bool) -> Result<Vec<String>> {
    let broken = grants()?.into_iter().filter(|grant| !law(grant));
    Ok(broken
        .map(|Grant { subject, place, key, verb }| format!("{subject}, {place}: {verb} {key}"))
        .collect())
}

fn is_keyplanes(grant: &Grant) -> bool {
    grant.subject.starts_with("ServiceAccount keyplane-system/")
}

/// Accepting a changed snapshot is how somebody says that a change of permissions is meant.
#[test]
fn no_permission_widens_unnoticed() -> Result<()> {
    let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Grant { subject, place, key, verb } in grants()? {
        lines.entry(format!("{subject} | {place} | {key}")).or_default().push(verb);
    }
    let lines: Vec<String> =
        lines.into_iter().map(|(who, verbs)| format!("{who} | {}", verbs.join(" "))).collect();
    insta::assert_snapshot!("permissions", lines.join("\n"));
    Ok(())
}

#[test]
fn the_permissions_document_says_what_the_manifests_say() -> Result<()> {
    let committed = std::fs::read_to_string(workspace::root().join("docs/permissions.md"))?;
    assert!(
        committed == document(&Shipped::read()?)?,
        "docs/permissions.md differs from charts/keyplane/files: run `make generate` and commit the result"
    );
    Ok(())
}

#[test]
fn no_rule_has_a_wildcard() -> Result<()> {
    let parts = |grant: &Grant| [grant.key.group.clone(), grant.key.resource.clone(), grant.verb.clone()];
    assert_eq!(breaking(|grant| parts(grant).iter().all(|part| !part.contains('*')))?, [""; 0]);
    Ok(())
}

#[test]
fn no_rule_is_about_a_url() -> Result<()> {
    assert_eq!(breaking(|grant| !grant.key.resource.starts_with('/'))?, [""; 0]);
    Ok(())
}

#[test]
fn nobody_may_escalate_or_impersonate() -> Result<()> {
    assert_eq!(
        breaking(|grant| !grant.verb.starts_with("escalate") && !grant.verb.starts_with("impersonate"))?,
        [""; 0]
    );
    Ok(())
}

#[test]
fn bind_is_for_the_five_roles_by_name_only() -> Result<()> {
    let named = |grant: &Grant| bindable_roles().any(|role| grant.key.name.as_deref() == Some(role));
    assert_eq!(breaking(|grant| grant.verb != "bind" || named(grant))?, [""; 0]);
    Ok(())
}

#[test]
fn only_the_api_mints_tokens_and_only_for_the_identities_of_keys() -> Result<()> {
    let minting: Vec<(String, String, String)> = grants()?
        .into_iter()
        .filter(|grant| grant.key.resource == "serviceaccounts/token")
        .map(|grant| (grant.subject, grant.place, grant.verb))
        .collect();
    assert_eq!(minting, [(API.to_owned(), IDENTITIES.to_owned(), "create".to_owned())]);
    Ok(())
}

#[test]
fn keyplane_reaches_secrets_and_service_accounts_only_among_the_identities_of_keys() -> Result<()> {
    let about = |grant: &Grant| ["secrets", "serviceaccounts"].contains(&grant.key.resource.as_str());
    assert_eq!(
        breaking(|grant| !is_keyplanes(grant) || !about(grant) || grant.place == IDENTITIES)?,
        [""; 0]
    );
    Ok(())
}

/// What `keyplane:delivery` says is little, and nobody has it until the controller gives it to itself.
#[test]
fn the_right_to_deliver_is_to_get_create_and_patch_secrets_and_is_bound_to_nobody() -> Result<()> {
    let shipped = Shipped::read()?;
    assert!(shipped.bindings.iter().all(|binding| binding.role != DELIVERY_ROLE), "bound by a manifest");
    let subject = format!("role {DELIVERY_ROLE}");
    let rights: Vec<String> = shipped
        .grants()?
        .into_iter()
        .filter(|grant| grant.subject == subject)
        .map(|grant| format!("{} {}", grant.verb, grant.key))
        .collect();
    assert_eq!(rights, ["create secrets", "get secrets", "patch secrets"]);
    Ok(())
}

/// Tombstones: with `delete` or `update` the controller could forget a revoked key, whatever the policies say.
#[test]
fn no_config_map_is_deleted_or_replaced_by_keyplane() -> Result<()> {
    let config_maps: Vec<(String, String, String)> = grants()?
        .into_iter()
        .filter(|grant| is_keyplanes(grant) && grant.key.resource == "configmaps")
        .map(|grant| (grant.subject, grant.place, grant.verb))
        .collect();
    let expected = ["create", "get", "list", "patch", "watch"]
        .map(|verb| (CONTROLLER.to_owned(), IDENTITIES.to_owned(), verb.to_owned()));
    assert_eq!(config_maps, expected);
    Ok(())
}

#[test]
fn an_owner_reads_and_discards_secrets_and_writes_none() -> Result<()> {
    let subject = format!("role {OWNER_ROLE}");
    let verbs: Vec<String> = grants()?
        .into_iter()
        .filter(|grant| grant.subject == subject && grant.key.resource == "secrets")
        .map(|grant| grant.verb)
        .collect();
    assert_eq!(verbs, ["delete", "get", "list", "watch"]);
    Ok(())
}

#[test]
fn keyplane_itself_runs_nothing_in_the_cluster() -> Result<()> {
    let running = ["pods", "deployments", "jobs", "cronjobs", "daemonsets", "statefulsets", "replicasets"];
    let runs = |grant: &Grant| running.contains(&grant.key.resource.split('/').next().unwrap_or_default());
    assert_eq!(breaking(|grant| !is_keyplanes(grant) || !runs(grant))?, [""; 0]);
    Ok(())
}

#[test]
fn the_api_writes_nothing_but_tokens_reviews_how_keys_were_used_and_what_people_declare() -> Result<()> {
    let reads = |grant: &Grant| ["get", "list", "watch"].contains(&grant.verb.as_str());
    let writes: Vec<String> = grants()?
        .into_iter()
        .filter(|grant| grant.subject == API && !reads(grant))
        .map(|grant| format!("{} {}", grant.verb, grant.key))
        .collect();
    let expected = [
        "create apikeys.keyplane.dev",
        "delete apikeys.keyplane.dev",
        "patch apikeys.keyplane.dev",
        "patch apikeys/status.keyplane.dev",
        "create namespaces.keyplane.dev",
        "delete namespaces.keyplane.dev",
        "create serviceaccounts/token",
        "create sshkeys.keyplane.dev",
        "delete sshkeys.keyplane.dev",
        "patch sshkeys.keyplane.dev",
        "create subjectaccessreviews.authorization.k8s.io",
        "create tokenreviews.authentication.k8s.io",
    ];
    assert_eq!(writes.into_iter().collect::<BTreeSet<_>>(), expected.map(ToOwned::to_owned).into());
    Ok(())
}

/// CVE-2021-25740: a Service or an Ingress would lead into another account's namespace.
#[test]
fn no_role_writes_endpoints() -> Result<()> {
    let reads = |grant: &Grant| ["get", "list", "watch"].contains(&grant.verb.as_str());
    let about = |grant: &Grant| grant.key.resource.starts_with("endpoint");
    assert_eq!(breaking(|grant| !about(grant) || reads(grant))?, [""; 0]);
    Ok(())
}

#[test]
fn no_key_reads_or_writes_declarations_and_no_owner_writes_a_status() -> Result<()> {
    let declares = |grant: &Grant| grant.key.group == "keyplane.dev";
    assert_eq!(
        breaking(|grant| {
            let allowed = match grant.subject.strip_prefix("role ") {
                Some(OWNER_ROLE) => !grant.key.resource.contains('/'),
                Some(_) => false,
                None => true,
            };
            !declares(grant) || allowed
        })?,
        [""; 0]
    );
    Ok(())
}

/// The laws above are about what is read from the manifests; this is about reading.
#[test]
fn a_role_without_its_reason_or_of_an_unknown_kind_is_refused() {
    let refused =
        |yaml: &str| format!("{:#}", Shipped::default().add(yaml).expect_err("this must be refused"));
    let role =
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: mute}\nrules: []\n";
    assert_eq!(refused(role), "mute does not say why: give it the annotation keyplane.dev/why");
    assert!(refused("kind: MutatingWebhookConfiguration").contains("does not know what"));
}
