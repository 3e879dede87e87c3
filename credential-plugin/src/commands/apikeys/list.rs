//! `apikeys list`.

use std::io::Write;

use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;

use crate::failure::Failure;
use crate::kubectl::KubectlArgs;
use crate::output::{self, OutputFormat};
use crate::relative_time::relative;
use crate::resources::api_key::{ApiKey, RESOURCE};
use crate::typed_command;

const HELP: &str = "\
Examples:
  kubectl-keyplane apikeys list --namespace acme
  kubectl-keyplane apikeys list --all-namespaces --output json";

/// The arguments of `apikeys list`.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct ListArgs {
    /// Which cluster and namespace.
    #[command(flatten)]
    pub kubectl: KubectlArgs,
    /// The keys of every account
    #[arg(long, short = 'A', conflicts_with = "namespace")]
    pub all_namespaces: bool,
    /// The form of the list
    #[arg(long, short, value_name = "FORM", default_value = "table")]
    pub output: OutputFormat,
}

/// A key, as it is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    namespace: &'a str,
    name: &'a str,
    prefix: Option<&'a str>,
    state: &'a str,
    /// Why, where it is not simply so.
    reason: Option<&'a str>,
    scope: String,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
    last_used_ip: Option<&'a str>,
    uses: u64,
}

/// Lists the keys.
///
/// # Errors
/// [`FailureKind::Kubectl`](crate::failure::FailureKind::Kubectl), or
/// [`FailureKind::Local`](crate::failure::FailureKind::Local) for the output.
pub fn run(args: &ListArgs, out: &mut impl Write) -> Result<(), Failure> {
    let keys: Vec<ApiKey> = args.kubectl.list(RESOURCE, args.all_namespaces)?;
    let rows: Vec<Row<'_>> = keys.iter().map(row).collect();
    match args.output {
        OutputFormat::Json => output::json(&rows, out),
        OutputFormat::Table if rows.is_empty() => {
            let place = typed_command::looked_in(&args.kubectl, args.all_namespaces);
            output::line(out, &format!("No API keys found in {place}."))
        }
        OutputFormat::Table => table(&rows, args.all_namespaces, Utc::now(), out),
    }
}

fn row(key: &ApiKey) -> Row<'_> {
    let status = &key.status;
    let state = status.state.as_deref().unwrap_or("Pending");
    let reason = key.ready().map(|ready| ready.reason.as_str());
    let prefix = status.prefix.as_deref();
    Row {
        namespace: &key.metadata.namespace,
        name: &key.metadata.name,
        prefix,
        state,
        reason,
        scope: key.scope_in_short(),
        expires_at: key.spec.expires_at,
        last_used_at: status.usage.last_used_at,
        last_used_ip: status.usage.last_used_ip.as_deref(),
        uses: status.usage.count,
    }
}

fn table(
    rows: &[Row<'_>],
    with_namespace: bool,
    now: DateTime<Utc>,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let from = usize::from(!with_namespace);
    let head = ["NAMESPACE", "NAME", "PREFIX", "STATE", "SCOPE", "EXPIRES", "LAST USED"];
    let cells: Vec<Vec<String>> =
        rows.iter().map(|row| cells(row, now).into_iter().skip(from).collect()).collect();
    output::table(head.get(from..).unwrap_or_default(), &cells, out)
}

fn cells(row: &Row<'_>, now: DateTime<Utc>) -> [String; 7] {
    let state = match (row.state, row.reason) {
        // Here the word alone does not say what is to be done.
        ("Pending" | "Invalid", Some(reason)) => format!("{} ({reason})", row.state),
        (state, _) => state.to_owned(),
    };
    let when =
        |time: Option<DateTime<Utc>>| time.map_or_else(|| "never".to_owned(), |time| relative(time, now));
    [
        row.namespace.to_owned(),
        row.name.to_owned(),
        row.prefix.unwrap_or("-").to_owned(),
        state,
        row.scope.clone(),
        when(row.expires_at),
        when(row.last_used_at),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(keys: &serde_json::Value, with_namespace: bool) -> Vec<String> {
        let keys: Vec<ApiKey> = serde_json::from_value(keys.clone()).unwrap();
        let rows: Vec<Row<'_>> = keys.iter().map(row).collect();
        let mut out = Vec::new();
        table(&rows, with_namespace, "2030-01-10T00:00:00Z".parse().unwrap(), &mut out).unwrap();
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn each_key_is_one_row_with_what_people_look_for() {
        let keys = json!([
            {
                "metadata": {"name": "ci", "namespace": "acme", "generation": 1},
                "spec": {"scope": {"kubernetesExec": {"namespaces": ["web"]}}, "expiresAt": "2030-01-13T00:00:01Z"},
                "status": {"state": "Active", "prefix": "kpk_Ab3d", "usage": {"lastUsedAt": "2030-01-09T23:00:00Z"}},
            },
            {
                "metadata": {"name": "new", "namespace": "acme", "generation": 2},
                "spec": {"scope": {"all": true}},
                "status": {"state": "Invalid", "conditions": [
                    {"type": "Ready", "status": "False", "reason": "DigestRevoked", "observedGeneration": 2},
                ]},
            },
        ]);
        assert_eq!(
            shown(&keys, false),
            [
                "NAME   PREFIX     STATE                     SCOPE         EXPIRES   LAST USED",
                "ci     kpk_Ab3d   Active                    edit in web   in 3d     60m ago",
                "new    -          Invalid (DigestRevoked)   all           never     never",
            ]
        );
        assert!(shown(&keys, true)[1].starts_with("acme        ci "));
    }

    #[test]
    fn an_object_that_is_not_as_expected_keeps_no_other_from_being_listed() {
        let keys = json!([
            {"metadata": {"name": "odd"}, "spec": {"scope": {}, "expiresAt": "tomorrow"}},
            {"metadata": {"name": "ci\u{1b}[2J"}, "spec": {"scope": {"inference": true}}},
        ]);
        let rows = shown(&keys, false);
        assert!(rows[1].starts_with("odd") && rows[1].contains("Pending"), "{rows:?}");
        assert!(rows[2].contains("inference") && !rows[2].contains('\u{1b}'), "{rows:?}");
    }
}
