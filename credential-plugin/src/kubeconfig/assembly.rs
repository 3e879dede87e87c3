//! From the arguments, and what the exchange says, to the entries.

use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use ureq::http::Uri;

use crate::argument_values::namespace_name;
use crate::commands::kubeconfig::KubeconfigArgs;
use crate::commands::whoami::{Identity, Namespace};
use crate::exchange::address::{ExchangeAddress, KUBECONFIG_PATH, Trust, WHOAMI_PATH, read_pem};
use crate::exchange::allowed::AllowedExchange;
use crate::exchange::client;
use crate::failure::{Failure, FailureKind};
use crate::key_source::FoundKey;
use crate::kubeconfig::current::ContextArgs;
use crate::kubeconfig::entries::{Cluster, Context, Entries, User};
use crate::kubeconfig::exec_section::exec_section;
use crate::kubeconfig::issued::{Issued, names_a_place};
use crate::kubeconfig::relative_paths::refuse_relative_paths;
use crate::output;
use crate::target::Target;
use crate::token::cache_folder::CacheArgs;
use crate::verbose;

/// The entries that the arguments ask for. The exchange is asked for what they do not say: the cluster, or the
/// namespaces. A warning goes to `terminal`.
///
/// # Errors
/// [`FailureKind::Usage`] for an address or a name, [`FailureKind::NoKey`] for a key that is not one,
/// [`FailureKind::File`] for a CA, and those of asking the exchange.
pub fn entries(args: &KubeconfigArgs, terminal: &mut impl Write) -> Result<Entries, Failure> {
    let (exchange, args) = &exchange(args)?;
    let mut extension = json!({"server": exchange.base.as_str()});
    let pem = match &exchange.trust {
        Trust::Pem(pem) => Some(pem.as_slice()),
        Trust::Platform => None,
    };
    if let (Some(pem), Some(fields)) = (pem, extension.as_object_mut()) {
        fields.insert("certificateAuthorityData".to_owned(), json!(STANDARD.encode(pem)));
    }
    // What stands in a kubeconfig must be usable before anybody is asked.
    let allowed = AllowedExchange::new(exchange.base.clone(), pem)?;
    let given_server = args.cluster_server.as_deref().map(cluster_server).transpose()?;
    let given_ca = args.cluster_certificate_authority.as_deref().map(read_pem).transpose()?;
    let exec = exec_section(args, &allowed)?;

    let is_users_word = given_server.is_some() || given_ca.is_some();
    let given_ca = given_ca.map(|pem| STANDARD.encode(pem));
    // --cluster-server comes with --cluster.
    let given = args.cluster.clone().zip(given_server);
    let (name, server, ca, namespaces) = match given {
        Some((name, server)) if !args.all_namespaces => (name, server, given_ca, args.namespaces.clone()),
        given => {
            let answered = Answered::ask(exchange, args, terminal)?;
            let namespaces = answered.namespaces(&args.namespaces)?;
            let Issued { cluster_name, cluster_server, cluster_ca, .. } = answered.issued;
            if let Some((name, server)) = given {
                (name, server, given_ca, namespaces)
            } else {
                let name = args.cluster.clone().unwrap_or(cluster_name);
                (name, cluster_server, given_ca.or(cluster_ca), namespaces)
            }
        }
    };
    let contexts = contexts(args, &name, &namespaces)?;
    Ok(Entries {
        current_context: contexts.first().map(|context| context.name.clone()),
        cluster: Some(Cluster { name, server, ca, is_users_word, exchange: extension }),
        user: Some(User { name: args.user.clone(), exec }),
        contexts,
        contexts_follow_cluster: args.context.is_none() && args.context_prefix.is_none(),
    })
}

/// The exchange, and the arguments with what the current context says where they and the environment name none.
fn exchange(args: &KubeconfigArgs) -> Result<(ExchangeAddress, KubeconfigArgs), Failure> {
    let nowhere = CacheArgs { cache_dir: None, no_cache: true };
    let target =
        Target::find(&args.exchange, &ContextArgs::default(), &args.key, &nowhere).map_err(|failure| {
            match failure.kind() {
                FailureKind::Usage => failure.or_else_do("see kubectl-keyplane kubeconfig --help"),
                _ => failure,
            }
        })?;
    // A key that is written down needs no source.
    let key = if args.embed_key_env { args.key.clone() } else { target.key };
    if target.context.is_some() && !args.key.name_a_source() {
        refuse_relative_paths(&key)?;
    }
    let args = KubeconfigArgs { exchange: target.arguments, key, ..args.clone() };
    Ok((target.exchange, args))
}

fn cluster_server(text: &str) -> Result<String, Failure> {
    let sound = text
        .parse::<Uri>()
        .is_ok_and(|uri| matches!(uri.scheme_str(), Some("https" | "http")) && names_a_place(&uri));
    if sound {
        Ok(text.to_owned())
    } else {
        Err(Failure::new(
            FailureKind::Usage,
            "the API server's address is no URL",
            text,
            "give it as https://HOST[:PORT] with --cluster-server",
        ))
    }
}

fn contexts(args: &KubeconfigArgs, cluster: &str, namespaces: &[String]) -> Result<Vec<Context>, Failure> {
    let context = |name: String, namespace: Option<&String>| Context {
        name,
        cluster: cluster.to_owned(),
        user: args.user.clone(),
        namespace: namespace.cloned(),
    };
    if let Some(name) = &args.context {
        return match namespaces {
            [] => Ok(vec![context(name.clone(), None)]),
            [namespace] => Ok(vec![context(name.clone(), Some(namespace))]),
            several => Err(Failure::new(
                FailureKind::Usage,
                format!("--context names one context, and there are {}", several.len()),
                several.join(", "),
                "give --context-prefix, or one --namespace",
            )),
        };
    }
    let prefix = args.context_prefix.as_deref();
    if namespaces.is_empty() {
        return Ok(vec![context(format!("{}{cluster}", prefix.unwrap_or_default()), None)]);
    }
    let prefix = prefix.map_or_else(|| format!("{cluster}-"), str::to_owned);
    Ok(namespaces.iter().map(|namespace| context(format!("{prefix}{namespace}"), Some(namespace))).collect())
}

/// The exchange's answers.
struct Answered<'a> {
    exchange: &'a ExchangeAddress,
    args: &'a KubeconfigArgs,
    key: FoundKey,
    issued: Issued,
}

impl<'a> Answered<'a> {
    fn ask(
        exchange: &'a ExchangeAddress,
        args: &'a KubeconfigArgs,
        terminal: &mut impl Write,
    ) -> Result<Self, Failure> {
        verbose::note(format!("asking {} for the cluster and the namespaces", exchange.base.as_str()));
        let key = FoundKey::find(&args.key, &exchange.base, None)?;
        if let Some(warning) = key.instead_of_the_command_in(&args.key) {
            output::line(terminal, &warning)?;
        }
        let given =
            client::get(exchange, key.read()?, KUBECONFIG_PATH, args.exchange.timeout()).and_then(|answer| {
                Issued::parse(&answer).map_err(|why| unusable(exchange, KUBECONFIG_PATH, why))
            });
        let issued = given.map_err(|failure| match failure.kind() {
            // An exchange that does not know how it is reached from outside says that it is not ready.
            FailureKind::Busy | FailureKind::Server => {
                failure.or_else_do("or give the cluster with --cluster, --cluster-server and --namespace")
            }
            _ => failure,
        })?;
        Ok(Self { exchange, args, key, issued })
    }

    /// The namespaces that the key reaches, by both their names.
    fn known(&self) -> Result<Vec<Namespace>, Failure> {
        let Self { exchange, args, key, .. } = self;
        let known = Identity::ask(exchange, key.read()?, args.exchange.timeout())?.namespaces;
        if known.iter().all(|namespace| namespace_name(&namespace.kubernetes_name).is_ok()) {
            return Ok(known);
        }
        Err(unusable(exchange, WHOAMI_PATH, "a namespace's name in it is none"))
    }

    /// The namespaces that are wanted, by the names of their core Namespaces; all when none is named. One may be named as
    /// in its account, too.
    fn namespaces(&self, wanted: &[String]) -> Result<Vec<String>, Failure> {
        let reached = &self.issued.namespaces;
        if wanted.is_empty() {
            return Ok(reached.clone());
        }
        if wanted.iter().all(|name| reached.contains(name)) {
            return Ok(wanted.to_vec());
        }
        let known = self.known()?;
        let find = |name: &String| {
            let found = known.iter().find(|namespace| namespace.kubernetes_name == *name);
            let found = found.or_else(|| known.iter().find(|namespace| namespace.name == *name));
            found.map(|namespace| namespace.kubernetes_name.clone()).ok_or_else(|| {
                Failure::new(
                    FailureKind::Usage,
                    format!("the key does not reach the namespace {name}"),
                    self.exchange.base.as_str(),
                    match known.iter().map(|namespace| namespace.kubernetes_name.as_str()).collect::<Vec<_>>()
                    {
                        names if names.is_empty() => "give a key that reaches one".to_owned(),
                        names => format!("it reaches {}", names.join(", ")),
                    },
                )
            })
        };
        let mut found = Vec::new();
        for name in wanted.iter().map(find) {
            let name = name?;
            if !found.contains(&name) {
                found.push(name);
            }
        }
        Ok(found)
    }
}

/// An answer of the exchange that cannot be used.
fn unusable(exchange: &ExchangeAddress, path: &str, why: &str) -> Failure {
    Failure::new(
        FailureKind::Server,
        format!("the exchange's answer cannot be used: {why}"),
        format!("{}{path}", exchange.base.as_str()),
        "check that --server is a Keyplane exchange and that no proxy changes its answers",
    )
}
