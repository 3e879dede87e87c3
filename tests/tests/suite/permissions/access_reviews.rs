//! What Keyplane's `ServiceAccount`s may do according to a real API server, all of its roles and bindings counted.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectRulesReview, SelfSubjectRulesReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec,
};
use k8s_openapi::api::rbac::v1::PolicyRule;
use keyplane_tests::control_plane::ControlPlane;
use keyplane_tests::permissions::{DELIVERY_ROLE, OWNER_ROLE, RuleKey, Shipped, rights};
use keyplane_tests::shared::shared_installation;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::api::PostParams;
use kube::{Api, Client};

use super::attempt::{ADMINISTRATOR, API, Attempt, CONTROLLER, Stage, person, role_binding, service_account};

/// `namespace verb resource[.group][/subresource][ name]`, with `-` for cluster-wide.
type Question = &'static str;

const NEITHER_MAY: &[Question] = &[
    "default create pods",
    "default create pods/exec",
    "default create deployments.apps",
    "default get secrets",
    "- get secrets",
    "- list secrets",
    "keyplane-system get secrets",
    "kube-system list secrets",
    "default create secrets",
    "default get configmaps",
    "default get serviceaccounts",
    "default create serviceaccounts",
    "default create serviceaccounts/token",
    "keyplane-system create serviceaccounts/token",
    "keyplane-system create serviceaccounts/token keyplane-controller",
    "- create serviceaccounts/token",
    "- impersonate users",
    "- impersonate groups",
    "- impersonate serviceaccounts",
    "keyplane-identities impersonate serviceaccounts",
    "- create clusterroles.rbac.authorization.k8s.io",
    "- update clusterroles.rbac.authorization.k8s.io keyplane:edit",
    "- escalate clusterroles.rbac.authorization.k8s.io keyplane:edit",
    "- bind clusterroles.rbac.authorization.k8s.io",
    "- bind clusterroles.rbac.authorization.k8s.io cluster-admin",
    "- bind clusterroles.rbac.authorization.k8s.io edit",
    "- create clusterrolebindings.rbac.authorization.k8s.io",
    "default create roles.rbac.authorization.k8s.io",
    "- create validatingadmissionpolicies.admissionregistration.k8s.io",
    "- delete validatingadmissionpolicybindings.admissionregistration.k8s.io",
    "- create accounts.keyplane.dev",
    "- delete accounts.keyplane.dev",
    "- deletecollection namespaces",
    "default update leases.coordination.k8s.io keyplane-controller",
    "keyplane-system update leases.coordination.k8s.io another",
    "keyplane-system delete leases.coordination.k8s.io keyplane-controller",
    "- get nodes",
    "- create nodes/proxy",
    "- create certificatesigningrequests.certificates.k8s.io",
];

const THE_API_MAY_NOT: &[Question] = &[
    "default update apikeys.keyplane.dev",
    "default deletecollection apikeys.keyplane.dev",
    "default patch namespaces.keyplane.dev",
    "default patch namespaces.keyplane.dev/status",
    "default update apikeys.keyplane.dev/status",
    "- patch accounts.keyplane.dev",
    "default patch sshkeys.keyplane.dev/status",
    "- create namespaces",
    "- list namespaces",
    "- list serviceaccounts",
    "keyplane-identities patch serviceaccounts",
    "- list rolebindings.rbac.authorization.k8s.io",
    "default create rolebindings.rbac.authorization.k8s.io",
    "- bind clusterroles.rbac.authorization.k8s.io keyplane:view",
    "- bind clusterroles.rbac.authorization.k8s.io keyplane:delivery",
    "keyplane-identities get configmaps",
    "keyplane-identities create configmaps",
    "keyplane-identities create serviceaccounts",
    "keyplane-identities create secrets",
    "keyplane-identities delete secrets",
    "keyplane-system get leases.coordination.k8s.io keyplane-controller",
    "default create events.events.k8s.io",
];

const THE_CONTROLLER_MAY_NOT: &[Question] = &[
    "default create apikeys.keyplane.dev",
    "default delete apikeys.keyplane.dev",
    "default delete sshkeys.keyplane.dev",
    "default delete namespaces.keyplane.dev",
    "- create tokenreviews.authentication.k8s.io",
    "- create subjectaccessreviews.authorization.k8s.io",
    "keyplane-identities create serviceaccounts/token",
    "keyplane-identities update secrets",
    "keyplane-identities delete configmaps",
    "keyplane-identities update configmaps",
    "keyplane-system patch configmaps",
    "default patch secrets",
    "default update apikeys.keyplane.dev",
    "default get events.events.k8s.io",
    "default delete events.events.k8s.io",
    "default create events",
    "- update namespaces",
];

const THE_API_MAY: &[Question] = &[
    "keyplane-identities create serviceaccounts/token key-1",
    "keyplane-identities watch secrets",
    "keyplane-identities list serviceaccounts",
    "keyplane-identities watch serviceaccounts",
    "- watch apikeys.keyplane.dev",
    "default get apikeys.keyplane.dev",
    "default create apikeys.keyplane.dev",
    "default patch apikeys.keyplane.dev",
    "default delete apikeys.keyplane.dev",
    "default list sshkeys.keyplane.dev",
    "default delete namespaces.keyplane.dev",
    "- watch accounts.keyplane.dev",
    "- create tokenreviews.authentication.k8s.io",
    "- create subjectaccessreviews.authorization.k8s.io",
    "default patch apikeys.keyplane.dev/status",
];

const THE_CONTROLLER_MAY: &[Question] = &[
    "default patch apikeys.keyplane.dev/status",
    "- patch accounts.keyplane.dev",
    "- create namespaces",
    "default create rolebindings.rbac.authorization.k8s.io",
    "- bind clusterroles.rbac.authorization.k8s.io keyplane:account-owner",
    "- bind clusterroles.rbac.authorization.k8s.io keyplane:delivery",
    "default create events.events.k8s.io",
    "default patch events.events.k8s.io",
    "keyplane-identities create secrets",
    "keyplane-identities get configmaps",
    "keyplane-identities list configmaps",
    "keyplane-identities watch configmaps",
    "keyplane-identities create configmaps",
    "keyplane-identities patch configmaps",
    "keyplane-identities delete serviceaccounts key-1",
    "keyplane-system patch leases.coordination.k8s.io keyplane-controller",
];

async fn may(client: &Client, user: &str, question: Question) -> Result<bool> {
    let words: Vec<&str> = question.split(' ').collect();
    let [namespace, verb, what, name @ ..] = words.as_slice() else {
        anyhow::bail!("`{question}` is not `namespace verb resource`")
    };
    let (what, subresource) = what.split_once('/').unwrap_or((what, ""));
    let (resource, group) = what.split_once('.').unwrap_or((what, ""));
    let text = |part: &str| (!part.is_empty() && part != "-").then(|| part.to_owned());
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(user.to_owned()),
            groups: Some(
                ["system:serviceaccounts", "system:serviceaccounts:keyplane-system", "system:authenticated"]
                    .map(ToOwned::to_owned)
                    .to_vec(),
            ),
            resource_attributes: Some(ResourceAttributes {
                namespace: text(namespace),
                verb: text(verb),
                group: text(group),
                resource: text(resource),
                subresource: text(subresource),
                name: name.first().and_then(|name| text(name)),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let answer = reviews.create(&PostParams::default(), &review).await?;
    Ok(answer.status.context("a review without an answer")?.allowed)
}

async fn assert_each(user: &str, questions: &[&[Question]], allowed: bool) -> Result<()> {
    let (cluster, _) = shared_installation().await?;
    let client = cluster.client().await?;
    let mut wrong = Vec::new();
    for question in questions.concat() {
        if may(&client, user, question).await? != allowed {
            wrong.push(question);
        }
    }
    let should = if allowed { "must be allowed" } else { "must not be allowed" };
    assert!(wrong.is_empty(), "{user} {should}: {wrong:#?}");
    Ok(())
}

#[tokio::test]
async fn the_api_server_refuses_the_api_what_it_must_never_do() -> Result<()> {
    assert_each(API, &[NEITHER_MAY, THE_API_MAY_NOT], false).await
}

#[tokio::test]
async fn the_api_server_refuses_the_controller_what_it_must_never_do() -> Result<()> {
    assert_each(CONTROLLER, &[NEITHER_MAY, THE_CONTROLLER_MAY_NOT], false).await
}

#[tokio::test]
async fn the_api_server_allows_each_process_its_own_work() -> Result<()> {
    assert_each(API, &[THE_API_MAY], true).await?;
    assert_each(CONTROLLER, &[THE_CONTROLLER_MAY], true).await
}

/// What a user has in a namespace by everything that the API server knows.
async fn effective(
    cluster: &ControlPlane,
    user: &str,
    namespace: &str,
) -> Result<BTreeSet<(RuleKey, String)>> {
    let reviews: Api<SelfSubjectRulesReview> = Api::all(cluster.access().client_as(user).await?);
    let review = SelfSubjectRulesReview {
        spec: SelfSubjectRulesReviewSpec { namespace: Some(namespace.to_owned()) },
        ..SelfSubjectRulesReview::default()
    };
    let status = reviews
        .create(&PostParams::default(), &review)
        .await?
        .status
        .context("a review without an answer")?;
    let rules: Vec<PolicyRule> = status
        .resource_rules
        .into_iter()
        .map(|rule| PolicyRule {
            api_groups: rule.api_groups,
            resources: rule.resources,
            resource_names: rule.resource_names,
            verbs: rule.verbs,
            non_resource_urls: None,
        })
        .collect();
    Ok(rights(&rules))
}

/// Nothing is forgotten by a table here: all rights in a namespace, less those of any ServiceAccount whatever.
#[tokio::test]
async fn what_the_api_server_grants_keyplane_is_exactly_what_the_manifests_say() -> Result<()> {
    let (cluster, _) = shared_installation().await?;
    let grants = Shipped::read()?.grants()?;
    for user in [CONTROLLER, API] {
        let subject =
            format!("ServiceAccount {}", user.trim_start_matches("system:serviceaccount:").replace(':', "/"));
        for namespace in ["default", "kube-system", "keyplane-system", "keyplane-identities"] {
            let anybody =
                effective(cluster, "system:serviceaccount:keyplane-system:anybody", namespace).await?;
            let seen = effective(cluster, user, namespace).await?;
            let expected: BTreeSet<_> = grants
                .iter()
                .filter(|grant| {
                    grant.subject == subject && [namespace, "everywhere"].contains(&grant.place.as_str())
                })
                .map(|grant| (grant.key.clone(), grant.verb.clone()))
                .collect();
            assert!(!expected.is_empty(), "the manifests grant {subject} nothing");
            assert_eq!(&seen - &anybody, expected, "{user} in {namespace}");
        }
    }
    Ok(())
}

/// What somebody has in a namespace beyond what he has elsewhere, once the API server has taken note of it.
async fn until_given(
    cluster: &ControlPlane,
    user: &str,
    elsewhere: &str,
    here: &str,
    expected: &BTreeSet<(RuleKey, String)>,
) -> Result<()> {
    until(&format!("the rights of {user} in {here}"), PATIENCE, || async {
        let before = effective(cluster, user, elsewhere).await?;
        let given = &effective(cluster, user, here).await? - &before;
        Ok(if given == *expected { Seen::Done(()) } else { Seen::NotYet(format!("{given:?}")) })
    })
    .await
}

/// The roles of a home namespace, each beside a namespace in which it is not bound.
#[tokio::test]
async fn in_a_home_namespace_the_controller_and_an_owner_have_their_role_and_nothing_more() -> Result<()> {
    let stage = Stage::set("given").await?;
    let shipped = Shipped::read()?;
    let owner = "owner-of-the-given-test";
    let controller = service_account("keyplane-system", "keyplane-controller");
    for (user, role, subject) in
        [(CONTROLLER, DELIVERY_ROLE, controller), (owner, OWNER_ROLE, person("User", owner))]
    {
        let binding = role_binding(&stage.home, role.trim_start_matches("keyplane:"), role, &subject);
        Attempt::create(binding).done(stage.cluster, ADMINISTRATOR).await?;
        let expected = rights(&shipped.rules_of(shipped.role(None, role)?));
        until_given(stage.cluster, user, &stage.plain, &stage.home, &expected).await?;
    }
    stage.clear().await
}
