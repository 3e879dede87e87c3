//! Invariant I4: what has settled stays as it is, and every plan of it is empty.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use keyplane_crds::{Account, ApiKey, Namespace, SshKey};
use proptest::prelude::*;

use crate::driver::converge;
use crate::entitlement::assert_exact;
use crate::model::Cluster;
use crate::operations::{COLLIDING, any_operation, history};
use crate::resource::Resource;

/// The resources whose plan is not empty at this time.
fn unsettled<R: Resource>(cluster: &Cluster, now: DateTime<Utc>) -> Vec<String> {
    R::table(cluster)
        .values()
        .cloned()
        .map(Arc::new)
        .filter(|resource| !R::plan(cluster, resource, now).is_empty())
        .map(|resource| format!("{resource:#?} {:#?}", R::plan(cluster, &resource, now)))
        .collect()
}

fn assert_every_plan_is_empty(cluster: &Cluster, now: DateTime<Utc>) {
    assert_eq!(unsettled::<Account>(cluster, now), Vec::<String>::new());
    assert_eq!(unsettled::<Namespace>(cluster, now), Vec::<String>::new());
    assert_eq!(unsettled::<ApiKey>(cluster, now), Vec::<String>::new());
    assert_eq!(unsettled::<SshKey>(cluster, now), Vec::<String>::new());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn after_any_history_everything_settles_is_exact_and_is_never_written_again(
        steps in history(any_operation()),
        seed in any::<u64>(),
    ) {
        let mut cluster = Cluster::new();
        for step in &steps {
            step.apply(&mut cluster, COLLIDING);
        }
        converge(&mut cluster, seed);
        assert_exact(&cluster);
        assert_every_plan_is_empty(&cluster, cluster.now);
        prop_assert_eq!(converge(&mut cluster.clone(), !seed), 0);
    }

    #[test]
    fn time_alone_changes_nothing_before_the_moment_that_the_plan_names(
        steps in history(any_operation()),
        seed in any::<u64>(),
    ) {
        let mut cluster = Cluster::new();
        for step in &steps {
            step.apply(&mut cluster, COLLIDING);
        }
        converge(&mut cluster, seed);
        let wake_at = |key: &ApiKey| ApiKey::plan(&cluster, &Arc::new(key.clone()), cluster.now).wake_at;
        match cluster.api_keys.values().filter_map(wake_at).min() {
            None => assert_every_plan_is_empty(&cluster, cluster.now + TimeDelta::days(36_500)),
            Some(moment) => {
                prop_assert!(moment > cluster.now);
                assert_every_plan_is_empty(&cluster, moment - TimeDelta::milliseconds(1));
            }
        }
    }
}
