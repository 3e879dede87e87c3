//! The arguments of a user's `exec` section: those that allow an exchange add up when clusters are merged, and the others
//! say which key the user is.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::exchange::allowed::ALLOW_SERVER;

/// The arguments of an `exec` section.
pub struct ExecArgs {
    /// The values that say to which exchanges the key may go.
    pub allowed: Vec<Value>,
    /// All others, as they are written.
    pub others: Vec<Value>,
}

impl ExecArgs {
    /// Reads those of a section.
    #[must_use]
    pub fn of(exec: &Value) -> Self {
        let (mut allowed, mut others) = (Vec::new(), Vec::new());
        let mut args = exec.get("args").and_then(Value::as_array).into_iter().flatten();
        while let Some(arg) = args.next() {
            let text = arg.as_str().unwrap_or_default();
            if text == ALLOW_SERVER {
                allowed.extend(args.next().cloned());
            } else if let Some(value) =
                text.strip_prefix(ALLOW_SERVER).and_then(|rest| rest.strip_prefix('='))
            {
                allowed.push(json!(value));
            } else {
                others.push(arg.clone());
            }
        }
        Self { allowed, others }
    }

    /// These arguments, after what the older ones allowed.
    #[must_use]
    pub fn added_to(self, old: Self) -> Value {
        let mut allowed = old.allowed;
        for value in self.allowed {
            if !allowed.contains(&value) {
                allowed.push(value);
            }
        }
        let allowed = allowed.into_iter().flat_map(|value| [json!(ALLOW_SERVER), value]);
        self.others.into_iter().chain(allowed).collect()
    }

    /// In what the others differ, without a value; nothing when they are the same.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        if self.others == other.others {
            return Vec::new();
        }
        let (ours, theirs) = (values_by_option(&self.others), values_by_option(&other.others));
        let mut options: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
        options.sort();
        options.dedup();
        let differing: Vec<String> =
            options.into_iter().filter(|option| ours.get(*option) != theirs.get(*option)).cloned().collect();
        if differing.is_empty() { vec!["how its arguments are written".to_owned()] } else { differing }
    }
}

/// The values of each option. What is no plain name of an option is not repeated: it may be a secret.
fn values_by_option(args: &[Value]) -> BTreeMap<String, Vec<Option<&str>>> {
    let mut values: BTreeMap<String, Vec<Option<&str>>> = BTreeMap::new();
    let mut args = args.iter().map(|arg| arg.as_str().unwrap_or_default()).peekable();
    while let Some(arg) = args.next() {
        let (option, value) = match arg.split_once('=') {
            Some((option, value)) if is_option(option) => (option, Some(value)),
            _ if is_option(arg) => (arg, args.next_if(|next| !is_option(next))),
            _ => ("its other arguments", Some(arg)),
        };
        values.entry(option.to_owned()).or_default().push(value);
    }
    values
}

fn is_option(arg: &str) -> bool {
    arg.strip_prefix("--").is_some_and(|name| {
        !name.is_empty() && name.len() < 40 && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
    })
}
