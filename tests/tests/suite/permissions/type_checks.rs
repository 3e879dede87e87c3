//! What Kubernetes itself says of the policies: an expression that does not fit the types of what it judges fails at
//! the first request that it should judge, and with `failurePolicy: Fail` refuses it.

use anyhow::{Context as _, Result};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use keyplane_tests::permissions::Shipped;
use keyplane_tests::shared::shared_installation;
use keyplane_tests::waiting::{PATIENCE, Seen, until};
use kube::Api;

#[tokio::test]
async fn kubernetes_has_checked_the_types_in_every_policy_and_warns_of_none() -> Result<()> {
    let (cluster, _) = shared_installation().await?;
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(cluster.client().await?);
    let mut warnings = Vec::new();
    for shipped in Shipped::read()?.policies {
        let checked = until(&format!("the type check of {}", shipped.name), PATIENCE, || async {
            let policy = policies.get(&shipped.name).await?;
            let status = policy.status.unwrap_or_default();
            Ok(
                match status
                    .type_checking
                    .filter(|_| status.observed_generation == policy.metadata.generation)
                {
                    Some(checked) => Seen::Done(checked),
                    None => Seen::NotYet("not checked yet".to_owned()),
                },
            )
        })
        .await
        .context("kube-controller-manager checks them")?;
        for warning in checked.expression_warnings.unwrap_or_default() {
            warnings.push(format!("{}: {}: {}", shipped.name, warning.field_ref, warning.warning));
        }
    }
    assert!(warnings.is_empty(), "{}", warnings.join("\n"));
    Ok(())
}
